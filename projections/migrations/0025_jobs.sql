-- What takes longer than an answer may: asked for once, done by one process at a time, looked at
-- meanwhile.
CREATE TABLE jobs (
    id uuid PRIMARY KEY,
    kind text NOT NULL,
    shop text NOT NULL,
    key text NOT NULL,                     -- what tells it apart: asked for again it is the same
    lock text NOT NULL,                    -- of two with one lock, one is done at a time
    asked jsonb NOT NULL,
    state text NOT NULL DEFAULT 'waiting'
        CHECK (state IN ('waiting', 'running', 'done', 'failed', 'cancelled')),
    done bigint NOT NULL DEFAULT 0,        -- how much of `total`, in what the kind counts in
    total bigint,
    begun bigint NOT NULL DEFAULT 0,       -- what was done when the present attempt began
    result jsonb,
    error text,                            -- why it failed, or what it waits for
    attempts int NOT NULL DEFAULT 0,       -- that ended without a word
    not_before timestamptz NOT NULL DEFAULT now(),
    created timestamptz NOT NULL DEFAULT now(),
    started timestamptz,                   -- the present attempt, or the last
    changed timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX jobs_under_way ON jobs (kind, shop, key) WHERE state IN ('waiting', 'running');
CREATE INDEX jobs_of_shop ON jobs (shop, created DESC);
CREATE INDEX jobs_ended ON jobs (changed) WHERE state NOT IN ('waiting', 'running');

-- When figures of the past that are kept were last asked for: the one longest ago goes first. The
-- tables themselves stand in schemas of their own, which say what they hold.
CREATE TABLE as_of_used (
    schema_name text PRIMARY KEY,
    used_at timestamptz NOT NULL DEFAULT now()
);
