-- Each order as the set of its events leaves it. `state` is what the fold goes on from.
CREATE TABLE orders (
    shop text NOT NULL,
    order_id text NOT NULL,
    status text NOT NULL,
    state json NOT NULL,
    revision bigint NOT NULL,
    PRIMARY KEY (shop, order_id)
);

-- Sales by hour, along one dimension at a time: total (key ''), country, category, product.
CREATE TABLE revenue (
    shop text NOT NULL,
    dimension text NOT NULL,
    hour timestamptz NOT NULL,             -- the beginning of an hour of the shop's clock
    key text NOT NULL,
    currency text NOT NULL,
    gross numeric NOT NULL,
    discounts numeric NOT NULL,
    refunds numeric NOT NULL,
    adjustments numeric NOT NULL,
    orders bigint NOT NULL,
    units bigint NOT NULL,
    refunded_units bigint NOT NULL,
    revision bigint NOT NULL,
    PRIMARY KEY (shop, dimension, hour, key, currency)
);

CREATE TABLE best_sellers (
    shop text NOT NULL,
    day date NOT NULL,                     -- of the shop's calendar
    product text NOT NULL,
    currency text NOT NULL,
    name text NOT NULL,
    gross numeric NOT NULL,
    discounts numeric NOT NULL,
    refunds numeric NOT NULL,
    orders bigint NOT NULL,
    units bigint NOT NULL,
    refunded_units bigint NOT NULL,
    revision bigint NOT NULL,
    PRIMARY KEY (shop, day, product, currency)
);
