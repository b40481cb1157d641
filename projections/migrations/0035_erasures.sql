-- Makes pseudonyms of those who were erased: without it nobody can say whose they were. There is one
-- row, made with the first erasure.
CREATE TABLE erasure_key (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    key bytea NOT NULL
);

-- What is kept of an erased name: enough to know it again, and to refuse it a new key.
CREATE FUNCTION erasure_digest(shop text, name text) RETURNS bytea STABLE LANGUAGE sql AS $$
    SELECT substr(
        sha256(key || convert_to(shop, 'UTF8') || '\x00'::bytea || convert_to(name, 'UTF8')), 1, 16
    ) FROM erasure_key
$$;
CREATE TABLE erased_names (
    shop text NOT NULL,
    digest bytea NOT NULL,
    erasure uuid NOT NULL,
    PRIMARY KEY (shop, digest)
);

-- Who was erased, without saying who: `digest` is of the person.
CREATE TABLE erasures (
    id uuid PRIMARY KEY,
    shop text NOT NULL,
    digest bytea NOT NULL,
    erased_at timestamptz NOT NULL,
    rebuilt_at timestamptz,                -- when what had learned from them was made anew
    UNIQUE (shop, digest)
);
CREATE INDEX erasures_waiting ON erasures (erased_at) WHERE rebuilt_at IS NULL;
