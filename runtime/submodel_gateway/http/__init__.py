"""The HTTP layer: two raw ASGI applications, `public` for clients and workers, `internal` for the operator.

`messages` reads requests and writes answers, `answers` turns errors into them, `envelope` parses bodies, `servers` runs
the applications.
"""
