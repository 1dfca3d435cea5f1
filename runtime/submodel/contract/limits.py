"""Sizes and times that more than one process must agree on."""

RUN_BODY_BYTES = 10 * 1024 * 1024
"""Largest request body of `/run`; also the largest result of such a job."""

RUNSYNC_BODY_BYTES = 20 * 1024 * 1024
"""Largest request body of `/runsync`; also the largest result."""

CHUNK_BYTES = 1024 * 1024
"""Largest single streamed chunk."""

EXCHANGE_BODY_BYTES = 64 * 1024 * 1024
"""Largest exchange request: several results may travel together."""

EXCHANGE_WAIT_MS_MAX = 20_000
"""Longest time the gateway holds an exchange that has nothing to say."""

LEASE_MS = 45_000
"""How long a job stays with a worker that is not heard of."""

ENDPOINT_WORKERS_MAX = 5_000
"""Workers of one endpoint that a gateway knows at once: far more than a manifest may ask for, also while they are
replaced."""

EXECUTION_TIMEOUT_MS_DEFAULT = 600_000
EXECUTION_TIMEOUT_MS_MIN = 5_000
TTL_MS_DEFAULT = 86_400_000
TTL_MS_MIN = 10_000
POLICY_MS_MAX = 604_800_000
"""Upper bound of both: seven days."""

RUNSYNC_WAIT_MS_DEFAULT = 90_000
RUNSYNC_WAIT_MS_MAX = 300_000

QUEUED_MIN = 50
QUEUED_PER_WORKER = 500
"""Queued jobs that an endpoint may have: the former at least, the latter per worker that it may scale to."""

RESULT_TTL_ASYNC_SECONDS = 1_800
RESULT_TTL_SYNC_SECONDS = 60
"""How long a finished job can be read, unless its endpoint says otherwise."""

ATTEMPTS_DEFAULT = 3
"""Executions that may come to nothing before a job fails, unless its endpoint says otherwise."""
