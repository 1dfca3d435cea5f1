"""The operator of SubModel on Kubernetes, and the `submodel` command."""
