"""The HTTP layer: a server of our own, and an application for each port: `public` for clients and workers, `internal`
for the operator.

`protocol` keeps connections, `messages` reads requests and writes answers, `answers` turns errors into them, `envelope`
parses bodies, `servers` runs the applications.
"""
