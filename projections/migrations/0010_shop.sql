-- The states that commands decide about: each the sum of its events, which are on the log. What is
-- asked of them is in columns made of the state, so that there is one way to write it.
CREATE TABLE products (
    shop text NOT NULL,
    id text NOT NULL,
    version bigint NOT NULL,               -- the number of its events
    state jsonb NOT NULL,
    created_at timestamptz NOT NULL,
    changed_at timestamptz NOT NULL,
    PRIMARY KEY (shop, id)
);
CREATE TABLE stock (LIKE products INCLUDING ALL);

-- What was answered to a command under its Idempotency-Key; no status while it is being decided.
CREATE TABLE answers (
    shop text NOT NULL,
    actor text NOT NULL,
    key text NOT NULL,
    digest bytea NOT NULL,                 -- of the request: what a retry repeats
    status int,
    body bytea,
    version bigint,
    location text,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (shop, actor, key)
);
CREATE INDEX answers_kept ON answers (created_at);
