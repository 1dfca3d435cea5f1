"""What the three processes agree on: wire models, state names, environment names and limits.

Everything here is pure data. It is the only part of `submodel` that the gateway and the operator import.
"""
