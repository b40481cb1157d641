-- What every order contributes to sales, line by line. Rows are only ever added: what no longer
-- holds is taken back by a row of the opposite sign.
CREATE TABLE sales_lines (
    shop text NOT NULL,
    hour timestamptz NOT NULL,             -- the beginning of an hour of the shop's clock
    currency text NOT NULL,
    country text NOT NULL,
    channel text NOT NULL,
    customer text NOT NULL,                -- the pseudonym of a person, empty if unknown
    order_id text NOT NULL,
    category text NOT NULL,
    product text NOT NULL,
    variant text NOT NULL,
    gross numeric NOT NULL,
    discounts numeric NOT NULL,
    refunds numeric NOT NULL,
    adjustments numeric NOT NULL,
    tax numeric NOT NULL,
    orders int NOT NULL,                   -- 1 in the lines of a sale, 0 in what follows it
    units bigint NOT NULL,
    refunded_units bigint NOT NULL
);
CREATE INDEX sales_lines_by_hour ON sales_lines (shop, hour);

-- Their sums by day and by month, along one dimension at a time: total (key ''), country, channel,
-- category, product, variant.
CREATE TABLE sales_periods (
    shop text NOT NULL,
    grain text NOT NULL,                   -- day, month
    dimension text NOT NULL,
    period date NOT NULL,                  -- the first day of it, of the shop's calendar
    key text NOT NULL,
    currency text NOT NULL,
    gross numeric NOT NULL,
    discounts numeric NOT NULL,
    refunds numeric NOT NULL,
    adjustments numeric NOT NULL,
    tax numeric NOT NULL,
    orders bigint NOT NULL,
    units bigint NOT NULL,
    refunded_units bigint NOT NULL,
    PRIMARY KEY (shop, grain, dimension, period, key, currency)
);
CREATE INDEX sales_periods_by_key ON sales_periods (shop, dimension, key, period)
    WHERE grain = 'day';
