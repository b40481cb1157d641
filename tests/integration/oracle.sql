-- What orders come to, in plain SQL over the events as they stand on the log (`told`: a row a
-- record), and over nothing else. It knows one refund or one cancellation of an order, by lines.

-- An amount of ten-thousandths by weight, in whole ones: those who lose most by rounding down get
-- one more, the first of them first.
CREATE FUNCTION shares(amount numeric, weights numeric[]) RETURNS numeric[] LANGUAGE sql AS $$
    SELECT array_agg(share + CASE WHEN place <= amount - given THEN 1 ELSE 0 END ORDER BY number)
    FROM (
        SELECT number, share, sum(share) OVER () AS given,
            row_number() OVER (ORDER BY rest DESC, number) AS place
        FROM (
            SELECT number, div(amount * weight, total) AS share, mod(amount * weight, total) AS rest
            FROM unnest(weights) WITH ORDINALITY AS one (weight, number),
                (SELECT nullif(sum(all_of_them), 0) AS total FROM unnest(weights) AS all_of_them)
        ) AS rounded
    ) AS placed
$$;

CREATE FUNCTION units(amount text) RETURNS numeric LANGUAGE sql AS $$
    SELECT coalesce(amount::numeric, 0) * 10000
$$;

CREATE MATERIALIZED VIEW counted AS
SELECT DISTINCT ON (shop, id) * FROM told;
CREATE INDEX ON counted (shop, order_id);
ANALYZE counted;

-- An order's country is that of its sale; where that says none, of what was told of it later.
CREATE VIEW sales AS
SELECT DISTINCT ON (shop, order_id) *, coalesce(
    data ->> 'country',
    (
        SELECT later.data ->> 'country' FROM counted AS later
        WHERE (later.shop, later.order_id) = (sale.shop, sale.order_id)
            AND later.type = 'OrderRefunded' AND later.data ? 'country'
        ORDER BY later.time, later.id LIMIT 1
    )
) AS country
FROM counted AS sale WHERE type = 'OrderCompleted'
ORDER BY shop, order_id, time, id;

CREATE MATERIALIZED VIEW sold AS
WITH line AS (
    SELECT sales.*, number, one ->> 'product_id' AS product, coalesce(one ->> 'category', '') AS category,
        coalesce(one ->> 'sku', one ->> 'variant', '') AS variant,
        coalesce((one ->> 'quantity')::int, 1) AS quantity, units(one ->> 'tax') AS told_tax,
        units(one ->> 'price') * coalesce((one ->> 'quantity')::int, 1) AS gross
    FROM sales, jsonb_array_elements(data -> 'products') WITH ORDINALITY AS product (one, number)
), discounted AS (
    SELECT line.*, coalesce(
        (shares(least(units(data ->> 'discount'), sum(gross) OVER whole), array_agg(gross) OVER whole))[number],
        0
    ) AS discount
    FROM line
    WINDOW whole AS (PARTITION BY shop, order_id ORDER BY number
        ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)
)
SELECT discounted.*, coalesce(
    (shares(
        CASE WHEN data ? 'tax' THEN units(data ->> 'tax') ELSE sum(told_tax) OVER whole END,
        CASE
            WHEN sum(told_tax) OVER whole > 0 THEN array_agg(told_tax) OVER whole
            WHEN sum(gross - discount) OVER whole > 0 THEN array_agg(gross - discount) OVER whole
            ELSE array_agg(1::numeric) OVER whole
        END
    ))[number],
    0
) AS tax
FROM discounted
WINDOW whole AS (PARTITION BY shop, order_id ORDER BY number
    ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING);

CREATE INDEX ON sold (shop, order_id);
ANALYZE sold;

CREATE VIEW refunded AS
SELECT event.*, number, one ->> 'product_id' AS product, one ->> 'category' AS category,
    coalesce(one ->> 'sku', one ->> 'variant') AS variant,
    coalesce((one ->> 'quantity')::int, 1) AS quantity,
    units(one ->> 'price') * coalesce((one ->> 'quantity')::int, 1) AS amount,
    units(one ->> 'tax') AS told_tax
FROM counted AS event, jsonb_array_elements(data -> 'products') WITH ORDINALITY AS product (one, number)
WHERE type = 'OrderRefunded';

CREATE MATERIALIZED VIEW lines AS
SELECT shop, time AS at, order_id, person, data ->> 'currency' AS currency, country,
    data ->> 'channel' AS channel, category, product, variant, true AS sale,
    gross, discount AS discounts, 0 AS refunds, 0 AS adjustments, tax, quantity AS units, 0 AS refunded_units
FROM sold
UNION ALL
SELECT shop, refunded.time, order_id, coalesce(sales.person, refunded.person),
    coalesce(refunded.data ->> 'currency', sales.data ->> 'currency'),
    coalesce(refunded.data ->> 'country', sales.country), sales.data ->> 'channel',
    coalesce(refunded.category, nullif(alike.category, ''), ''), product,
    coalesce(refunded.variant, alike.variant, ''), false,
    0, 0, amount, 0,
    -coalesce((shares(
        CASE WHEN refunded.data ? 'tax' THEN units(refunded.data ->> 'tax')
            ELSE sum(refunded.told_tax) OVER whole END,
        array_agg(amount) OVER whole
    ))[refunded.number], 0), 0, refunded.quantity
FROM refunded
LEFT JOIN sales USING (shop, order_id)
LEFT JOIN LATERAL (
    SELECT max(category) AS category, max(variant) AS variant FROM sold
    WHERE (sold.shop, sold.order_id, sold.product)
        = (refunded.shop, refunded.order_id, refunded.product)
) AS alike ON true
WINDOW whole AS (PARTITION BY shop, order_id, refunded.id ORDER BY refunded.number
    ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)
UNION ALL
SELECT shop, cancelled.time, order_id, sold.person, sold.data ->> 'currency', sold.country,
    sold.data ->> 'channel', category, product, variant, false,
    0, 0, gross - discount, 0,
    -coalesce((shares(sum(tax) OVER whole, CASE WHEN sum(gross - discount) OVER whole > 0
        THEN array_agg(gross - discount) OVER whole ELSE array_agg(1::numeric) OVER whole END))[number], 0),
    0, quantity
FROM counted AS cancelled JOIN sold USING (shop, order_id)
WHERE cancelled.type = 'OrderCancelled'
WINDOW whole AS (PARTITION BY shop, order_id ORDER BY number
    ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)
UNION ALL
SELECT adjusted.shop, adjusted.time, order_id, coalesce(sales.person, adjusted.person),
    coalesce(adjusted.data ->> 'currency', sales.data ->> 'currency', 'XXX'),
    coalesce(adjusted.data ->> 'country', sales.country), sales.data ->> 'channel', '', '', '', false,
    0, 0, 0, units(adjusted.data ->> 'amount'), 0, 0, 0
FROM counted AS adjusted LEFT JOIN sales USING (shop, order_id)
WHERE adjusted.type = 'SalesAdjusted';

ANALYZE lines;
