-- The last check of each read model against the log: all of it, or a sample.
CREATE TABLE verify_results (
    read_model text NOT NULL,
    scope text NOT NULL,                   -- whole, sample
    checked_at timestamptz NOT NULL,
    keys bigint NOT NULL,                  -- how many were compared
    differing bigint NOT NULL,             -- how many of them are not what the log says
    examples jsonb NOT NULL,               -- some of those, each with both values
    positions jsonb NOT NULL,              -- `orders:3` → the next offset: what was compared
    seconds double precision NOT NULL,
    checks bigint NOT NULL DEFAULT 1,      -- how many there were so far
    failed bigint NOT NULL DEFAULT 0,      -- how many of them found something
    PRIMARY KEY (read_model, scope)
);
