CREATE TABLE categories (LIKE products INCLUDING ALL);
ALTER TABLE categories
    ADD parent text GENERATED ALWAYS AS (state ->> 'parent') STORED,
    ADD removed boolean GENERATED ALWAYS AS (coalesce((state ->> 'removed')::boolean, false)) STORED;
CREATE INDEX categories_below ON categories (shop, parent) WHERE NOT removed;

ALTER TABLE stock
    ADD product_id text GENERATED ALWAYS AS (state ->> 'product_id') STORED,
    ADD available int GENERATED ALWAYS AS (
        coalesce((state ->> 'on_hand')::int, 0) - coalesce((state ->> 'reserved_units')::int, 0)
    ) STORED,
    ADD low boolean GENERATED ALWAYS AS (coalesce((state ->> 'low')::boolean, false)) STORED;
CREATE INDEX stock_of_products ON stock (shop, product_id);
CREATE INDEX stock_low ON stock (shop, id) WHERE low;
