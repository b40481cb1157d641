-- Accounts: each the sum of its events. What staff look for them by is made of their states.
CREATE TABLE accounts (LIKE products INCLUDING ALL);
ALTER TABLE accounts
    ADD COLUMN role text GENERATED ALWAYS AS (state ->> 'role') STORED,
    ADD COLUMN words tsvector GENERATED ALWAYS AS (
        to_tsvector(
            'simple',
            translate(
                coalesce(state ->> 'name', '') || ' ' || coalesce(state ->> 'email', ''),
                '@.+_-''', '      '
            )
        )
    ) STORED;
CREATE INDEX accounts_listed ON accounts (shop, role, id);
CREATE INDEX accounts_words ON accounts USING gin (words);

-- What somebody logs in with. It is in no event: what the log tells is for ever.
CREATE TABLE credentials (
    shop text NOT NULL,
    user_id text NOT NULL,
    email text NOT NULL,                   -- as it is compared
    hash text NOT NULL,                    -- argon2id, with its parameters and salt
    changed_at timestamptz NOT NULL,
    PRIMARY KEY (shop, user_id),
    UNIQUE (shop, email)
);

-- A log-in, until it ends: the family of the refresh tokens that followed one from another.
CREATE TABLE sessions (
    id text PRIMARY KEY,
    shop text NOT NULL,
    user_id text NOT NULL,
    begun_at timestamptz NOT NULL,
    ends_at timestamptz NOT NULL,
    ended_at timestamptz,                  -- before its time
    ended_by text                          -- logout, reuse, password, role, closed
);
CREATE INDEX sessions_of ON sessions (shop, user_id);
CREATE INDEX sessions_kept ON sessions (ends_at);

CREATE TABLE refresh_tokens (
    digest bytea PRIMARY KEY,              -- of the token, which only its holder has
    session text NOT NULL REFERENCES sessions ON DELETE CASCADE,
    made_at timestamptz NOT NULL,
    used_at timestamptz,
    successor bytea                        -- sealed with this token
);
CREATE INDEX refresh_tokens_of ON refresh_tokens (session);

-- How often something was tried lately, by digests of accounts and addresses.
CREATE TABLE attempts (
    what text NOT NULL,
    who bytea NOT NULL,
    since timestamptz NOT NULL,
    times int NOT NULL,
    PRIMARY KEY (what, who)
);
CREATE INDEX attempts_kept ON attempts (since);
