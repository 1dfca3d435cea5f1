"""A minimal S3: objects by path, in parts when they are large, and every signature that is sent is remembered."""

import re
import threading
from urllib.parse import parse_qs, urlsplit

from tests.support.scripted_server import Asked, Reply, ScriptedServer


class BucketServer(ScriptedServer):
    """`objects` are contents by `/<bucket>/<key>`, `kinds` their content types. `refuse` is answered instead of all."""

    def __init__(self) -> None:
        super().__init__(self._serve)
        self.objects: dict[str, bytes] = {}
        self.kinds: dict[str, str] = {}
        self.refuse: Reply | None = None
        self._parts: dict[str, dict[int, bytes]] = {}
        self._lock = threading.Lock()

    def credentials(self) -> dict[str, str]:
        """In the form that handlers pass."""
        return {"endpointUrl": self.url, "accessId": "id", "accessSecret": "secret"}

    def _serve(self, asked: Asked) -> Reply:
        parts = urlsplit(asked.path)
        query = parse_qs(parts.query, keep_blank_values=True)
        if self.refuse is not None:
            return self.refuse
        with self._lock:
            if asked.method == "GET":
                return self._read(parts.path, query)
            assert asked.headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=id/"), asked.headers
            return self._write(asked, parts.path, query)

    def _read(self, path: str, query: dict[str, list[str]]) -> Reply:
        if query.get("X-Amz-Expires") != ["604800"]:
            return Reply(403, b"<Error><Code>AccessDenied</Code></Error>")
        return Reply(body=self.objects[path]) if path in self.objects else Reply(404)

    def _write(self, asked: Asked, path: str, query: dict[str, list[str]]) -> Reply:
        if asked.method == "PUT" and "partNumber" in query:
            self._parts[path][int(query["partNumber"][0])] = asked.body
            return Reply(headers={"ETag": f'"{query["partNumber"][0]}"'})
        if asked.method == "PUT":
            self.objects[path] = asked.body
            self.kinds[path] = asked.headers.get("content-type", "")
            return Reply(headers={"ETag": '"whole"'})
        if "uploads" in query:
            self._parts[path] = {}
            return Reply(body=b"<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>")
        assert asked.method == "POST"
        assert "uploadId" in query
        numbers = [int(number) for number in re.findall(rb"<PartNumber>(\d+)</PartNumber>", asked.body)]
        parts = self._parts.pop(path)
        self.objects[path] = b"".join(parts[number] for number in numbers)
        return Reply(body=b"<CompleteMultipartUploadResult><ETag>x</ETag></CompleteMultipartUploadResult>")
