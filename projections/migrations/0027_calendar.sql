-- What a command decides about: what was said last of an entry of the calendar.
CREATE TABLE calendar_entries (LIKE products INCLUDING ALL);

-- What is known ahead of days: closed ones, promotions, other prices. Of one that was withdrawn only
-- its id is left, and where that stands in the log.
CREATE TABLE calendar (
    shop text NOT NULL,
    entry_id text NOT NULL,
    kind text,                             -- none: it was withdrawn
    first_day date,                        -- of the shop's calendar
    last_day date,                         -- included
    level text,                            -- of what it holds for: total, or that of `key`
    key text,
    value numeric,
    name text,
    planned_at timestamptz,                -- when it was said
    record_offset bigint NOT NULL,         -- of what was said, in `days`, which is one partition
    PRIMARY KEY (shop, entry_id)
);
CREATE INDEX ON calendar (shop, last_day);
