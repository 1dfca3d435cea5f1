-- Jobs of low priority, which start no worker. A gateway that does not know them refuses them, and to it those that
-- others have accepted are jobs as all.

ALTER TABLE job ADD COLUMN low_priority boolean NOT NULL DEFAULT false;
ALTER TABLE tally ADD COLUMN arrived_low bigint NOT NULL DEFAULT 0;

DROP INDEX job_waiting;
CREATE INDEX job_waiting ON job (endpoint, queued_at) WHERE state = 'IN_QUEUE' AND NOT low_priority; -- age of the queue
CREATE INDEX job_low ON job (endpoint, state) WHERE low_priority;                     -- jobs that start no worker
