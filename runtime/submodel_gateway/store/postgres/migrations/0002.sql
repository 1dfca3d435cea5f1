-- What gateways tell each other beside jobs: each of them the workers that it hears of, and all of them the operator's
-- word, whichever of them heard it. Everything here can be said again.

CREATE TABLE word (
    endpoint text COLLATE "C" NOT NULL,
    teller bigint NOT NULL,                    -- a gateway's id; 0 stands for the operator
    version bigint NOT NULL,                   -- another one whenever the document is another one
    document bytea NOT NULL,
    told_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (endpoint, teller)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0);
