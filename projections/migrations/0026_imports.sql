-- Tables of sales that somebody brought: what is known of each, and how far it is.
CREATE TABLE imports (
    import_id text PRIMARY KEY,
    owner text NOT NULL,                   -- the shop whose staff or key brought it
    shop text NOT NULL,                    -- the shop that its sales go to
    name text NOT NULL,
    state text NOT NULL,                   -- received draft queued running applying done failed cancelled
    detail text NOT NULL DEFAULT '',       -- of what failed: why
    files json NOT NULL,                   -- their names and sizes, as they lie in the home
    said json NOT NULL DEFAULT '{}',       -- what was told with it: currency, encoding, corrections
    shape json,                            -- how its files are written, and their columns
    mapping json,
    asked json NOT NULL DEFAULT '[]',      -- what a person has to say, or to know
    preview json NOT NULL DEFAULT '[]',    -- the first rows as they would be read
    progress json NOT NULL DEFAULT '{}',   -- counts, positions, and from where to go on
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);
CREATE INDEX imports_by_owner ON imports (owner, created_at);

-- Rows that could not be taken. Of personal columns no value is kept.
CREATE TABLE import_rejections (
    import_id text NOT NULL REFERENCES imports ON DELETE CASCADE,
    line bigint NOT NULL,
    column_name text NOT NULL,
    value text NOT NULL,
    reason text NOT NULL
);
CREATE INDEX import_rejections_by_line ON import_rejections (import_id, line);

-- What a person said of a file with this header, for the next one.
CREATE TABLE import_mappings (
    owner text NOT NULL,
    header text NOT NULL,                  -- SHA-256 of its columns' names
    correction json NOT NULL,
    PRIMARY KEY (owner, header)
);

-- Makes pseudonyms of customers: without it nobody can say whose they are.
CREATE TABLE import_keys (
    shop text PRIMARY KEY,
    key bytea NOT NULL
);
