-- From schema 1 to 2. A job keeps its place: it was queued when it was created.

UPDATE meta SET value = 2 WHERE name = 'schema';
INSERT INTO meta (name, value)
VALUES ('owner_epoch', 0), ('swept_at', 0), ('hold_until', 0), ('blob_bytes', 0);

CREATE TABLE breaker (endpoint TEXT PRIMARY KEY, losses BLOB NOT NULL) WITHOUT ROWID;

DROP INDEX ready;
DROP INDEX waiting;
DROP INDEX delayed;
DROP INDEX holder;
DROP INDEX due;
ALTER TABLE job RENAME TO job_1;

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
    due_at INTEGER NOT NULL
);

INSERT INTO job
SELECT
    key, id, endpoint, state, seq, pri, created_at, gen, attempt, nonce, used, max, 0, worker, session, lease_until,
    taken_at, run_at, created_at, deadline - created_at, deadline, execution_timeout_ms, exec_limit, retention_ms,
    finished_at, keep_until, result_attempt, execution_ms, chunks, chunk_bytes, 0, '', created_at - pri * 300000, due_at
FROM job_1 ORDER BY key;
DROP TABLE job_1;

CREATE INDEX ready ON job (endpoint, place, seq) WHERE state = 'IN_QUEUE';    -- the take
CREATE INDEX waiting ON job (endpoint, queued_at) WHERE state = 'IN_QUEUE';   -- age of the queue
CREATE INDEX delayed ON job (run_at) WHERE state = 'IN_QUEUE' AND run_at > 0; -- when a lost job may go again
CREATE INDEX holder ON job (endpoint, worker) WHERE state = 'IN_PROGRESS';    -- jobs of a worker that is gone
CREATE INDEX due ON job (due_at, seq);  -- the sweeper: lease, limits and retention in one index, the earliest counts
CREATE INDEX listed ON job (endpoint, seq);                                   -- pages, the newest first

ALTER TABLE payload ADD COLUMN webhook TEXT;
INSERT INTO result (key, output) SELECT key, value FROM progress;
DROP TABLE progress;

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
