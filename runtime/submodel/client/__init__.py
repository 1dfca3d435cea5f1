"""Clients of the job API: `Endpoint` for threads, `AsyncioEndpoint` for asyncio. Users reach them as `submodel.…`.

| Module | Thought |
|---|---|
| `endpoint`, `asyncio_endpoint` | what users call |
| `connections`, `sessions` | the edges: one sends over sockets of its own, the other through aiohttp |
| `calls` | requests as values (pure) |
| `answers`, `reading` | what answers mean (pure) |
| `retry`, `limits` | when to ask again, and for how long (pure) |
| `settings` | base URL and API key |
"""
