"""Names of the environment variables that the runtime reads when a worker is started.

The operator sets those that tell a worker who it is; the token may also come from a file, and the log level from the
user.
"""

from submodel.contract import legacy_env

GATEWAY_URL = "SUBMODEL_GATEWAY_URL"
"""Base of the gateway's worker port, without a path: `http://gateway:8000`."""

ENDPOINT_ID = "SUBMODEL_ENDPOINT_ID"
WORKER_ID = "SUBMODEL_WORKER_ID"
"""Unique per worker; the pod's name on Kubernetes."""

WORKER_TOKEN = "SUBMODEL_WORKER_TOKEN"
WORKER_TOKEN_FILE = "SUBMODEL_WORKER_TOKEN_FILE"
"""Either holds the bearer token of the exchange; the file wins."""

CONCURRENCY = "SUBMODEL_CONCURRENCY"
"""Jobs at once per worker; 1 when unset."""

DRAIN_SECONDS = "SUBMODEL_DRAIN_SECONDS"
"""How long a worker may finish its jobs after SIGTERM before it gives them back; the pod's grace less a margin."""

LOG_LEVEL = "SUBMODEL_LOG_LEVEL"

RESERVED: frozenset[str] = legacy_env.RESERVED | {
    GATEWAY_URL,
    ENDPOINT_ID,
    WORKER_ID,
    WORKER_TOKEN,
    WORKER_TOKEN_FILE,
    CONCURRENCY,
    DRAIN_SECONDS,
}
"""Names that a user's environment may not set."""
