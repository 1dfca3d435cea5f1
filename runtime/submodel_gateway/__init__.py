"""The gateway process: the job API for clients, the exchange for workers, the internal API for the operator.

Run it with `python -m submodel_gateway`; `settings` names the environment variables. Imports point downwards only:
`__main__ > http > service > store > jobs > settings > errors`, with `submodel.contract` below all of them.
"""
