"""What a worker with an SDK of the hosted platforms finds in its environment, in the spelling of each of them.

The SDKs put ids into the URLs themselves, and append their own parameters with `&`: so each URL has a query. In the one
for jobs `$ID` is the worker; in the others it is the job, and the worker has a name of its own.
"""

from collections.abc import Mapping

PREFIXES = ("RUNPOD_", "SUBMODEL_")

GET_JOB = "WEBHOOK_GET_JOB"
POST_OUTPUT = "WEBHOOK_POST_OUTPUT"
POST_STREAM = "WEBHOOK_POST_STREAM"
PING = "WEBHOOK_PING"
PING_INTERVAL = "PING_INTERVAL"
"""In milliseconds."""

API_KEY = "AI_API_KEY"
"""Sent with every request; without one there are no pings."""

POD_ID = "POD_ID"
POD_HOSTNAME = "POD_HOSTNAME"
ENDPOINT_ID = "ENDPOINT_ID"

PING_INTERVAL_MS = 10_000
"""Several times per lease."""

DEFAULTS: Mapping[str, str] = {"RUNPOD_SKIP_AUTO_SYSTEM_CHECKS": "true"}
"""What a user may set otherwise. The checks want the Internet, and free memory and disk of the whole node."""

RESERVED: frozenset[str] = frozenset(
    prefix + name
    for prefix in PREFIXES
    for name in (GET_JOB, POST_OUTPUT, POST_STREAM, PING, PING_INTERVAL, API_KEY, POD_ID, POD_HOSTNAME, ENDPOINT_ID)
)


def settings(prefix: str, gateway_url: str, endpoint: str) -> dict[str, str]:
    """The variables with this prefix that are the same for all workers of an endpoint."""
    base, query, worker = f"{gateway_url}/v2/{endpoint}", f"?sdk={prefix.strip('_').lower()}", f"${prefix}{POD_ID}"
    values = {
        GET_JOB: f"{base}/job-take/$ID{query}",
        POST_OUTPUT: f"{base}/job-done/{worker}/$ID{query}",
        POST_STREAM: f"{base}/job-stream/{worker}/$ID{query}",
        PING: f"{base}/ping/{worker}{query}",
        PING_INTERVAL: str(PING_INTERVAL_MS),
        ENDPOINT_ID: endpoint,
    }
    return {prefix + name: value for name, value in values.items()}
