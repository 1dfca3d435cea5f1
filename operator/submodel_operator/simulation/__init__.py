"""A discrete-event cluster for scalers: the production decision, and the rules of others, against any arrivals.

Called by `submodel simulate`. It knows no node provisioning, image cache or network: a start takes what it is told,
a job runs as long as its trace says.
"""
