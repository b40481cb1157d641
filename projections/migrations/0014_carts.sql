-- What is asked of carts: whose an open one is, of which a customer has one alone, and which of them
-- have been silent for long.
CREATE TABLE coupons (LIKE products INCLUDING ALL);
CREATE TABLE tax_rates (LIKE products INCLUDING ALL);
CREATE TABLE shipping_rates (LIKE products INCLUDING ALL);
CREATE TABLE carts (LIKE products INCLUDING ALL);

ALTER TABLE carts
    ADD COLUMN customer text GENERATED ALWAYS AS (state ->> 'customer') STORED,
    ADD COLUMN status text GENERATED ALWAYS AS (coalesce(state ->> 'status', 'open')) STORED,
    ADD COLUMN filled boolean GENERATED ALWAYS AS (
        jsonb_array_length(coalesce(state -> 'lines', '[]')) > 0
    ) STORED;
CREATE UNIQUE INDEX carts_of_customer ON carts (shop, customer)
    WHERE status IN ('open', 'abandoned') AND customer IS NOT NULL;
CREATE INDEX carts_silent ON carts (changed_at) WHERE status = 'open' AND filled;
