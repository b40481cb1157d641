-- After the tables that are made like `products`, for none of them is to have these columns.

-- The words of a text: what is between ASCII's signs, so that `mug-42` is found by 42.
CREATE FUNCTION words(told text) RETURNS text IMMUTABLE PARALLEL SAFE LANGUAGE sql
    RETURN lower(regexp_replace(coalesce(told, ''), '[!-/:-@\[-`{-~]+', ' ', 'g'));

ALTER TABLE products
    ADD category text GENERATED ALWAYS AS (state ->> 'category') STORED,
    ADD brand text GENERATED ALWAYS AS (state ->> 'brand') STORED,
    ADD listed boolean GENERATED ALWAYS AS (
        NOT coalesce((state ->> 'delisted')::boolean, false)
    ) STORED,
    ADD search tsvector GENERATED ALWAYS AS (
        setweight(to_tsvector('simple', words(state ->> 'name')), 'A')
        || setweight(to_tsvector('simple', words(state ->> 'brand')), 'B')
        || setweight(to_tsvector('simple', words(state ->> 'category')), 'B')
        || setweight(to_tsvector('simple', words(state ->> 'product_id')), 'B')
        || setweight(to_tsvector('simple', words(
            jsonb_path_query_array(state, '$.variants[*].id')::text
        )), 'B')
        || setweight(to_tsvector('simple', words(
            jsonb_path_query_array(state, '$.variants[*].options.*')::text
        )), 'C')
        || setweight(to_tsvector('simple', words(state ->> 'description')), 'D')
    ) STORED;
CREATE INDEX products_search ON products USING gin (search);
CREATE INDEX products_categories ON products (shop, category, id);
CREATE INDEX products_images ON products USING gin ((state -> 'images'));
