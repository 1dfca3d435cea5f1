"""The HTTP layer: two raw ASGI applications, `public` for clients and workers, `internal` for the operator.

`exchange` reads requests and writes answers, `answers` turns errors into them, `envelope` parses bodies. Compatible
paths of other clients and the older worker dialect get modules of their own beside `public`, and one line each in its
dispatch.
"""
