"""Use cases over the store and a clock; knows nothing of HTTP.

`gateway.Gateway` puts the parts together: `clients` (job API), `workers` (exchange), `registry` and `snapshots`
(operator), `sweeper` (expiry). What is in memory here (sessions, drains, cursors) may be lost at any instant: workers
and the operator say it again.
"""
