-- The key that a person's own fields are encrypted with on the log. Without it they are gone.
CREATE TABLE person_keys (
    shop text NOT NULL,
    person text NOT NULL,
    key bytea,                             -- null once destroyed
    created_at timestamptz NOT NULL DEFAULT now(),
    destroyed_at timestamptz,
    PRIMARY KEY (shop, person)
);
