"""Complete Journey (84.51°): a year of a grocer's receipts as daily units, and what was on offer.

Which series are told, and how much a product counts in its series' inputs, is settled by the first
40 weeks, so that the last 12 choose nothing they are judged on.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import duckdb

_SETTLED_WEEKS = 40
_LEVELS = (("department", 8), ("category", 40), ("product", 40))

# Receipts are stamped in UTC; the shops' weeks begin five hours later. Of fuel, a unit is no unit.
_SOLD = """
CREATE TABLE sold AS
SELECT (transaction_timestamp - INTERVAL 5 HOUR)::DATE AS day, product_id AS product,
  lower(department) AS department, lower(product_category) AS category, quantity AS units,
  sales_value + coupon_match_disc AS paid, sales_value + coupon_match_disc + retail_disc AS regular,
  date_diff('day', DATE '2016-12-26', day) // 7 + 1 AS week
FROM read_parquet(?) AS lines JOIN read_parquet(?) AS products USING (product_id)
WHERE department NOT IN ('FUEL', 'MISCELLANEOUS', 'COUPON') AND quantity BETWEEN 1 AND 200
"""

_MEMBERS = """
CREATE TABLE settled AS FROM sold WHERE week <= {weeks};
CREATE TABLE members (series VARCHAR, product BIGINT, weight DOUBLE);
INSERT INTO members SELECT 'total', product, sum(units) FROM settled GROUP BY product;
"""
_MEMBERS_OF = """
INSERT INTO members
SELECT '{level}/' || {level}, product, sum(units) FROM settled
WHERE {level} IN (SELECT {level} FROM settled WHERE {level} IS NOT NULL GROUP BY {level}
                  ORDER BY sum(units) DESC, {level} LIMIT {most})
GROUP BY {level}, product
"""

# A product that nobody bought in a week costs what it did last: its price is not told by its sales.
_OFFERS = """
CREATE TABLE weeks AS SELECT unnest(range(1, 54)) AS week;
CREATE TABLE prices AS
SELECT product, week, coalesce(last_value(price IGNORE NULLS) OVER (
  PARTITION BY product ORDER BY week ROWS UNBOUNDED PRECEDING), 1) AS price
FROM (SELECT DISTINCT product FROM members) CROSS JOIN weeks LEFT JOIN (
  SELECT product, week, sum(paid) / sum(regular) AS price FROM sold
  GROUP BY product, week HAVING sum(regular) > 0) USING (product, week)
"""
_PROMOTED = """
CREATE TABLE promoted AS
SELECT product_id AS product, week,
  count(DISTINCT store_id) FILTER (display_location <> '0') / any_value(stores) AS display,
  count(DISTINCT store_id) FILTER (mailer_location <> '0') / any_value(stores) AS mailer
FROM read_parquet($1) AS offers
CROSS JOIN (SELECT count(DISTINCT store_id) AS stores FROM read_parquet($1))
WHERE product_id IN (SELECT product FROM members) GROUP BY product_id, week
"""

_TOLD = """
WITH inputs AS (
  SELECT series, week, sum(weight * coalesce(display, 0)) / sum(weight) AS display,
    sum(weight * coalesce(mailer, 0)) / sum(weight) AS mailer,
    sum(weight * price) / sum(weight) AS price
  FROM members JOIN prices USING (product) LEFT JOIN promoted USING (product, week)
  GROUP BY series, week),
units AS (
  SELECT series, day, sum(units) AS units FROM members JOIN sold USING (product) GROUP BY ALL),
days AS (
  SELECT unnest(generate_series(min(day), max(day), INTERVAL 1 DAY))::DATE AS day FROM sold)
SELECT day, series, coalesce(units, 0), round(display, 4), round(mailer, 4), round(price, 4),
  (day = DATE '2017-12-25')::INTEGER
FROM days JOIN inputs ON inputs.week = date_diff('day', DATE '2016-12-26', day) // 7 + 1
LEFT JOIN units USING (series, day) ORDER BY series, day
"""


def rows(folder: Path) -> Iterator[Sequence[Any]]:
    """`date, series, value, display, mailer, price, closed`, a header first.

    `folder` holds the Parquet files of the package.
    """
    yield "date", "series", "value", "display", "mailer", "price", "closed"
    with duckdb.connect(":memory:") as database:
        sources = [str(folder / f"{name}.parquet") for name in ("transactions", "products")]
        database.execute(_SOLD, sources)
        database.execute(_MEMBERS.format(weeks=_SETTLED_WEEKS))
        for level, most in _LEVELS:
            database.execute(_MEMBERS_OF.format(level=level, most=most))
        database.execute(_OFFERS)
        database.execute(_PROMOTED, [str(folder / "promotions.parquet")])
        yield from database.execute(_TOLD).fetchall()
