"""The store that several gateways share: PostgreSQL 14 or later.

`store` is the engine behind `base.Store`. `writer` applies groups on a connection of its own, in the writer thread:
`needs` says what a group has to load, `unit` is its unit of work, `pending` what that writes. `reads`, `blobs` and
`news` serve the event loop. Importing this package imports the driver, so nothing does unless a URL asks for it.
"""

from submodel_gateway.store.postgres.store import PostgresStore

__all__ = ["PostgresStore"]
