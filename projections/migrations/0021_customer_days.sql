-- What each customer ordered and gave back on each day. All that is asked about customers is added
-- up from here: one customer's orders lie on several partitions, so rows are only ever added to.
CREATE TABLE customer_days (
    shop text NOT NULL,
    customer text NOT NULL,                -- the pseudonym of a person; '' for orders without one
    day date NOT NULL,                     -- of the shop's calendar
    country text NOT NULL,
    currency text NOT NULL,
    gross numeric NOT NULL,
    discounts numeric NOT NULL,
    refunds numeric NOT NULL,
    tax numeric NOT NULL,
    orders bigint NOT NULL,
    units bigint NOT NULL,
    refunded_units bigint NOT NULL,
    PRIMARY KEY (shop, customer, day, country, currency)
);
CREATE INDEX customer_days_by_day ON customer_days (shop, day);
