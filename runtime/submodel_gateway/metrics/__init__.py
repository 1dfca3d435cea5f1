"""What the gateway tells Prometheus: `table` says which metrics there are, `measures` keeps the numbers, `exposition`
writes them down. `python -m submodel_gateway.metrics` prints the reference page.
"""
