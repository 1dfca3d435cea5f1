"""The least that an HTTP server in Python can do: it answers with what it got.

`python -m tests.bench.echo` prints its port. Server, parser, event loop and their settings are those of the gateway.
"""

import socket
import sys
from typing import Any

import uvicorn
import uvloop

HEADERS = [(b"content-type", b"application/json")]


async def application(scope: Any, receive: Any, send: Any) -> None:
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    headers = [*HEADERS, (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def main() -> None:
    listener = socket.create_server(("127.0.0.1", 0), backlog=2_048)
    options: dict[str, Any] = {"log_config": None, "access_log": False, "server_header": False, "date_header": False}
    config = uvicorn.Config(
        application, http="httptools", ws="none", lifespan="off", proxy_headers=False, timeout_keep_alive=75, **options
    )
    sys.stdout.write(f"{listener.getsockname()[1]}\n")
    sys.stdout.flush()
    await uvicorn.Server(config).serve(sockets=[listener])


if __name__ == "__main__":
    uvloop.run(main())
