"""A receiver of webhooks on this machine: prints each outcome once, refuses what does not come from the gateway.

    WEBHOOK_SECRET=whsec_... python receiver.py 9000

It needs nothing but Python. Behind a web framework, `verified` stays as it is.
"""

import base64
import hmac
import json
import os
import sys
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOLERANCE_SECONDS = 300


def verified(secret: str, headers: Mapping[str, str], body: bytes, now_seconds: float) -> Any:
    """The document of a webhook that comes from the gateway and is not old. Raises `ValueError` for any other."""
    message_id, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    signed = b".".join((message_id.encode(), timestamp.encode(), body))
    key = base64.b64decode(secret.removeprefix("whsec_"))
    expected = "v1," + base64.b64encode(hmac.digest(key, signed, "sha256")).decode()
    given = headers.get("webhook-signature", "").split(" ")
    if not any(hmac.compare_digest(expected.encode(), each.encode()) for each in given):
        raise ValueError("no signature fits")
    if abs(now_seconds - int(timestamp)) > TOLERANCE_SECONDS:
        raise ValueError("the message is old")
    return json.loads(body)


class Receiver(BaseHTTPRequestHandler):
    """Answers 2xx to what it has understood; anything else is sent again later."""

    secret = ""
    seen: set[str] = set()  # noqa: RUF012  # shared by all requests on purpose; a real receiver asks its database

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        try:
            job = verified(self.secret, self.headers, body, time.time())
        except ValueError as error:
            self.send_error(401, str(error))
            return
        if self.headers["webhook-id"] not in self.seen:
            self.seen.add(self.headers["webhook-id"])
            print(job["id"], job["status"], job.get("output", job.get("error")), flush=True)
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the output is the outcomes."""


def main() -> None:
    """Serve until the process is ended."""
    Receiver.secret = os.environ["WEBHOOK_SECRET"]
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Receiver)
    print(f"listening on http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
