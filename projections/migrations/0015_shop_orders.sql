-- The orders that the shop itself has taken, as commands decide about them. `orders` is what
-- everybody's events leave of everybody's orders; the events of these have the source `shop`.
CREATE TABLE shop_orders (
    shop text NOT NULL,
    id text NOT NULL,
    version bigint NOT NULL,
    state jsonb NOT NULL,
    created_at timestamptz NOT NULL,
    changed_at timestamptz NOT NULL,
    status text GENERATED ALWAYS AS (state ->> 'status') STORED,
    person text GENERATED ALWAYS AS (state ->> 'person') STORED,
    -- Something is still to be paid, on delivery or before.
    unpaid boolean GENERATED ALWAYS AS (
        state #>> '{payment,paid_at}' IS NULL
        AND state ->> 'status' NOT IN ('cancelled', 'returned')
    ) STORED,
    PRIMARY KEY (shop, id)
);
CREATE INDEX shop_orders_latest ON shop_orders (shop, created_at DESC, id DESC);
CREATE INDEX shop_orders_of_person ON shop_orders (shop, person, created_at DESC, id DESC);
CREATE INDEX shop_orders_by_status ON shop_orders (shop, status, created_at DESC, id DESC);
CREATE INDEX shop_orders_unpaid ON shop_orders (shop, created_at DESC, id DESC) WHERE unpaid;
