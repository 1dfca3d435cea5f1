"""The job store: operations in, outcomes out; one transaction per group of operations.

`base` is the interface, `memory` the reference implementation, `sqlite` the durable one on a single machine, `group`
the asyncio front that the service talks to. `execute` says what each operation means, once, for every engine.
"""
