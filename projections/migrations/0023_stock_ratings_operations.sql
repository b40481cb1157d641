-- When an order was ordered, completed, paid and shipped, for what is asked of many: copies of what
-- its state says, null where it does not.
ALTER TABLE orders
    ADD COLUMN ordered_at timestamptz,
    ADD COLUMN completed_at timestamptz,
    ADD COLUMN paid_at timestamptz,
    ADD COLUMN shipped_at timestamptz;
UPDATE orders SET
    ordered_at = coalesce(state #>> '{placed,at}', state #>> '{sale,at}')::timestamptz,
    completed_at = (state #>> '{sale,at}')::timestamptz,
    paid_at = (state #>> '{paid,at}')::timestamptz,
    shipped_at = (state #>> '{shipped,at}')::timestamptz;
-- Orders come about in the order of time: so small an index leaves out most of the table, and takes
-- nothing of those who write it.
CREATE INDEX orders_by_time ON orders USING brin (ordered_at, shipped_at);
CREATE INDEX orders_unpaid ON orders (shop, ordered_at)
    WHERE paid_at IS NULL AND completed_at IS NULL AND status NOT IN ('cancelled', 'refunded');

-- What there is of each variant: sums of what was told, and the threshold that was told last.
CREATE TABLE stock_levels (
    shop text NOT NULL,
    product text NOT NULL,
    variant text NOT NULL,                 -- the product's own id where it has no variants
    on_hand bigint NOT NULL,               -- units in the house, the reserved ones among them
    reserved bigint NOT NULL,
    received bigint NOT NULL,
    adjusted bigint NOT NULL,
    shipped bigint NOT NULL,
    threshold int,                         -- low from so many available units on; null is never
    threshold_at timestamptz,
    threshold_id text,                     -- the event's that told it
    PRIMARY KEY (shop, product, variant)
);

-- Each review as the set of its events leaves it. `state` is what the fold goes on from.
CREATE TABLE ratings (
    shop text NOT NULL,
    product text NOT NULL,
    review_id text NOT NULL,
    stars smallint,                        -- null where it does not count: hidden, taken back
    state json NOT NULL,
    PRIMARY KEY (shop, product, review_id)
);

-- How the number of reviews that stand, of so many stars each, changed on the shop's days; and how
-- many were written then.
CREATE TABLE rating_days (
    shop text NOT NULL,
    product text NOT NULL,
    day date NOT NULL,
    stars smallint NOT NULL,
    standing bigint NOT NULL,
    written bigint NOT NULL,
    PRIMARY KEY (shop, product, day, stars)
);
