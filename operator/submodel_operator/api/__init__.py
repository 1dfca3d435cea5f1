"""The `SubModelEndpoint` API: models, constants and the CRD generated from them; its only description."""
