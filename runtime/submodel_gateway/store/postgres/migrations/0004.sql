-- How far the readers of a stream who name no place have come, for all gateways. Everything here may be lost: then they
-- begin again.

CREATE TABLE reader (
    job text COLLATE "C" PRIMARY KEY,
    attempt bigint NOT NULL,
    place bigint NOT NULL,                     -- items of that attempt that were read
    read_at timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0);
