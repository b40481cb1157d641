-- Days whose sales have changed since they were last told: a note that a fold leaves in its own
-- transaction, and that the closer takes away. Open days are here too.
CREATE TABLE day_changes (
    shop text NOT NULL,
    day date NOT NULL,                     -- of the shop's calendar
    first_at timestamptz NOT NULL,         -- when the first of the changes was folded
    last_at timestamptz NOT NULL,
    change bigint NOT NULL,                -- the transaction that made the last of them
    PRIMARY KEY (shop, day)
) WITH (fillfactor = 50);

-- How far the closer is with each shop.
CREATE TABLE day_shops (
    shop text PRIMARY KEY,
    next_day date NOT NULL,                -- all days before it are closed, from the shop's first on
    last_day date NOT NULL,                -- the latest with a sale
    live_from date                         -- the first that was heard of before it was over
);

-- When an import said that it was complete.
CREATE TABLE day_histories (
    shop text PRIMARY KEY,
    complete_at timestamptz NOT NULL
);

-- What was told: the closed days, each with how often it was corrected.
CREATE TABLE days (
    shop text NOT NULL,
    day date NOT NULL,
    revision int NOT NULL,
    told_at timestamptz NOT NULL,
    PRIMARY KEY (shop, day)
);

-- A series has a value on every closed day from its first day on.
CREATE TABLE day_series (
    shop text NOT NULL,
    level text NOT NULL,                   -- a dimension of `revenue`
    key text NOT NULL,
    currency text NOT NULL,
    first_day date NOT NULL,
    PRIMARY KEY (shop, level, key, currency)
);

-- The values that were told; a value that is not here was told as zeros.
CREATE TABLE day_figures (
    shop text NOT NULL,
    level text NOT NULL,
    day date NOT NULL,
    key text NOT NULL,
    currency text NOT NULL,
    gross numeric NOT NULL,
    discounts numeric NOT NULL,
    refunds numeric NOT NULL,
    orders bigint NOT NULL,
    units bigint NOT NULL,
    PRIMARY KEY (shop, level, day, key, currency)
);
