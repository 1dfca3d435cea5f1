-- Schema 1 of the SQLite store. Applied when the file is new; the row `schema` in `meta` names the version.
--
-- A row of `job` is narrow: payloads live in tables of their own, under the job's row number `key`, so that scans and
-- index updates never touch them. The columns of `job` between `key` and `due_at` are the fields of `jobs.record.Job`.
-- Instants are milliseconds of the gateway's clock.

CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
-- schema: version of this file; seq: last queue number given; now: instant of the last committed group

CREATE TABLE endpoint (id TEXT PRIMARY KEY, registration BLOB NOT NULL) WITHOUT ROWID;

CREATE TABLE tally (
    endpoint TEXT PRIMARY KEY,
    queued INTEGER NOT NULL, in_progress INTEGER NOT NULL, arrived INTEGER NOT NULL, completed INTEGER NOT NULL,
    failed INTEGER NOT NULL, cancelled INTEGER NOT NULL, timed_out INTEGER NOT NULL, retried INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE job (
    key INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    endpoint TEXT NOT NULL,
    state TEXT NOT NULL,
    seq INTEGER NOT NULL,
    pri INTEGER NOT NULL,
    gen INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    nonce INTEGER NOT NULL,
    used INTEGER NOT NULL,
    max INTEGER NOT NULL,
    worker TEXT,
    session TEXT,
    lease_until INTEGER,
    taken_at INTEGER,
    run_at INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
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
    due_at INTEGER NOT NULL
);

CREATE INDEX ready ON job (endpoint, pri DESC, seq) WHERE state = 'IN_QUEUE';             -- the take
CREATE INDEX waiting ON job (endpoint, created_at) WHERE state = 'IN_QUEUE';              -- age of the queue
CREATE INDEX delayed ON job (run_at) WHERE state = 'IN_QUEUE' AND run_at > 0;             -- when a lost job may go again
CREATE INDEX holder ON job (endpoint, worker) WHERE state = 'IN_PROGRESS';                -- jobs of a worker that is gone
CREATE INDEX due ON job (due_at, seq);  -- the sweeper: lease, limits and retention in one index, the earliest counts

CREATE TABLE payload (key INTEGER PRIMARY KEY, input BLOB NOT NULL, extra BLOB NOT NULL);
CREATE TABLE result (key INTEGER PRIMARY KEY, output BLOB, error TEXT);
CREATE TABLE progress (key INTEGER PRIMARY KEY, value BLOB NOT NULL);
CREATE TABLE chunk (key INTEGER, seq INTEGER, item BLOB NOT NULL, PRIMARY KEY (key, seq));  -- of the current attempt only
