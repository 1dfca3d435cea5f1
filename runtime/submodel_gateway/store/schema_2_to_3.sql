-- From schema 2 to 3: jobs of low priority, which start no worker.

UPDATE meta SET value = 3 WHERE name = 'schema';

ALTER TABLE tally ADD COLUMN arrived_low INTEGER NOT NULL DEFAULT 0;
ALTER TABLE job ADD COLUMN low_priority INTEGER NOT NULL DEFAULT 0;

DROP INDEX waiting;
CREATE INDEX waiting ON job (endpoint, queued_at) WHERE state = 'IN_QUEUE' AND low_priority = 0;  -- age of the queue
CREATE INDEX low ON job (endpoint, state) WHERE low_priority = 1;             -- jobs that start no worker
