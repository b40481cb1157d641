-- What a command decides about: what was said of a pair of currencies for the days of a year.
CREATE TABLE currency_rate_years (LIKE products INCLUDING ALL);

-- What was said last of each day, by whom figures are converted: 1 unit of the currency is so much
-- of the target, from that day of the shop on, until the next. No rate: it was withdrawn.
CREATE TABLE currency_rates (
    shop text NOT NULL,
    currency text NOT NULL,
    target text NOT NULL,
    day date NOT NULL,
    rate numeric,
    record_offset bigint NOT NULL,         -- of what was said, in `days`, which is one partition
    PRIMARY KEY (shop, target, currency, day)
);

-- The months that were told, each with how often it was corrected, and what was told of them. A
-- value that is not here was told as zeros.
CREATE TABLE months (
    shop text NOT NULL,
    month date NOT NULL,                   -- its first day, of the shop's calendar
    revision int NOT NULL,
    told_at timestamptz NOT NULL,
    days jsonb NOT NULL,                   -- which days it is the sum of, each with its revision
    day_count int NOT NULL,                -- the same in two numbers that change whenever it does
    day_revisions bigint NOT NULL,
    PRIMARY KEY (shop, month)
);
CREATE TABLE month_figures (
    shop text NOT NULL,
    level text NOT NULL,
    month date NOT NULL,
    key text NOT NULL,
    currency text NOT NULL,
    gross numeric NOT NULL,
    discounts numeric NOT NULL,
    refunds numeric NOT NULL,
    orders bigint NOT NULL,
    units bigint NOT NULL,
    PRIMARY KEY (shop, level, month, key, currency)
);
