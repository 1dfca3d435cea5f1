-- Schema 3 of the SQLite store. Applied when the file is new; the row `schema` in `meta` names the version.
--
-- A row of `job` is narrow: payloads live in tables of their own, under the job's row number `key`, so that scans and
-- index updates never touch them. The columns of `job` are `key`, the fields of `jobs.record.Job`, and what is
-- reckoned from them for the indexes.
-- Instants are milliseconds of the gateway's clock. A payload column holds BLOB bytes, or TEXT `name:size` for a file.

CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
-- schema: version of this file; owner_epoch: times it was opened; seq: last queue number given; now: instant of the
-- last committed group; swept_at, hold_until: see `execute.Mark`; blob_bytes: size of all owned files
INSERT INTO meta (name, value)
VALUES ('schema', 3), ('owner_epoch', 0), ('seq', 0), ('now', 0), ('swept_at', 0), ('hold_until', 0), ('blob_bytes', 0);

CREATE TABLE endpoint (id TEXT PRIMARY KEY, registration BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE breaker (endpoint TEXT PRIMARY KEY, losses BLOB NOT NULL) WITHOUT ROWID;  -- JSON of `jobs.breaker.Breaker`

CREATE TABLE tally (
    endpoint TEXT PRIMARY KEY,
    queued INTEGER NOT NULL, in_progress INTEGER NOT NULL, arrived INTEGER NOT NULL, completed INTEGER NOT NULL,
    failed INTEGER NOT NULL, cancelled INTEGER NOT NULL, timed_out INTEGER NOT NULL, retried INTEGER NOT NULL,
    arrived_low INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;

CREATE TABLE job (
    key INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    endpoint TEXT NOT NULL,
    state TEXT NOT NULL,
    seq INTEGER NOT NULL,
    pri INTEGER NOT NULL,
    queued_at INTEGER NOT NULL,
    gen INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    nonce INTEGER NOT NULL,
    used INTEGER NOT NULL,
    max INTEGER NOT NULL,
    retry_errors INTEGER NOT NULL,
    worker TEXT,
    session TEXT,
    lease_until INTEGER,
    taken_at INTEGER,
    run_at INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    ttl_ms INTEGER NOT NULL,
    deadline INTEGER NOT NULL,
    execution_timeout_ms INTEGER NOT NULL,
    exec_limit INTEGER,
    retention_ms INTEGER NOT NULL,
    finished_at INTEGER,
    keep_until INTEGER,
    result_attempt INTEGER,
    execution_ms INTEGER,
    chunks INTEGER NOT NULL,
    chunk_bytes INTEGER NOT NULL,
    keyed INTEGER NOT NULL,
    webhook TEXT NOT NULL,
    place INTEGER NOT NULL,
    due_at INTEGER NOT NULL,
    low_priority INTEGER NOT NULL DEFAULT 0
);

CREATE INDEX ready ON job (endpoint, place, seq) WHERE state = 'IN_QUEUE';    -- the take
CREATE INDEX waiting ON job (endpoint, queued_at) WHERE state = 'IN_QUEUE' AND low_priority = 0;  -- age of the queue
CREATE INDEX low ON job (endpoint, state) WHERE low_priority = 1;             -- jobs that start no worker
CREATE INDEX delayed ON job (run_at) WHERE state = 'IN_QUEUE' AND run_at > 0; -- when a lost job may go again
CREATE INDEX holder ON job (endpoint, worker) WHERE state = 'IN_PROGRESS';    -- jobs of a worker that is gone
CREATE INDEX due ON job (due_at, seq);  -- the sweeper: lease, limits and retention in one index, the earliest counts
CREATE INDEX listed ON job (endpoint, seq);                                   -- pages, the newest first

CREATE TABLE payload (key INTEGER PRIMARY KEY, input BLOB NOT NULL, extra BLOB NOT NULL, webhook TEXT);
CREATE TABLE result (key INTEGER PRIMARY KEY, output BLOB, error TEXT);  -- of a running job: its progress
CREATE TABLE chunk (key INTEGER, seq INTEGER, item BLOB NOT NULL, PRIMARY KEY (key, seq));  -- of the current attempt only

CREATE TABLE blob (name TEXT PRIMARY KEY, key INTEGER NOT NULL) WITHOUT ROWID;  -- files in use, and the job that owns them

CREATE TABLE idempotency (
    endpoint TEXT NOT NULL, principal TEXT NOT NULL, key TEXT NOT NULL,
    job TEXT NOT NULL, body_hash TEXT NOT NULL, expires_at INTEGER NOT NULL,
    state TEXT,  -- of a job that is forgotten
    UNIQUE (endpoint, principal, key)
);
CREATE INDEX keyed ON idempotency (job);
CREATE INDEX expiring ON idempotency (expires_at);

CREATE TABLE outbox (
    id TEXT PRIMARY KEY,  -- the job's
    endpoint TEXT NOT NULL, gen INTEGER NOT NULL, tries INTEGER NOT NULL, nonce INTEGER NOT NULL, next_at INTEGER,
    answer TEXT NOT NULL DEFAULT ''  -- what the last try came to
) WITHOUT ROWID;
CREATE INDEX sending ON outbox (next_at, id) WHERE next_at IS NOT NULL;
