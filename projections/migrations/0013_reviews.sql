CREATE TABLE reviews (LIKE products INCLUDING ALL);
ALTER TABLE reviews
    ADD product_id text GENERATED ALWAYS AS (state ->> 'product_id') STORED,
    ADD rating int GENERATED ALWAYS AS ((state ->> 'rating')::int) STORED,
    ADD visible boolean GENERATED ALWAYS AS (
        NOT coalesce((state ->> 'hidden')::boolean, false)
        AND NOT coalesce((state ->> 'retracted')::boolean, false)
    ) STORED;
CREATE INDEX reviews_of_products ON reviews (shop, product_id, created_at DESC, id DESC);
-- What a product's average and histogram are counted from.
CREATE INDEX reviews_stars ON reviews (shop, product_id, rating) WHERE visible;
