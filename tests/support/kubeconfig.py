"""A kubeconfig for one server and one bearer token."""

import json
from pathlib import Path


def write_kubeconfig(path: Path, server: str, token: str, authority: Path | None = None) -> str:
    """Write it to `path`, and return that. `authority` is the certificate that the server's is checked with."""
    cluster = {"server": server, **({"certificate-authority": str(authority)} if authority else {})}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "clusters": [{"name": "test", "cluster": cluster}],
        "users": [{"name": "test", "user": {"token": token}}],
    }
    path.write_text(json.dumps(document), encoding="utf-8")
    return str(path)
