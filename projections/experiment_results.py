"""What the units of an experiment did from their first exposure on, counted when it is asked.

Exposures, orders and what else somebody does come from partitions of their own, late and in any
order. So nothing is counted as it comes: rows of exposures, orders and moments are put together
here, by who is behind each of them as the links tell by now. The same set of events gives the same
figures.

A unit counts once, in the arm that it came to see first, for whoever it turned out to be: who came
as two visitors before they were known is one, of the first of the two. An exposure that is dated
before the experiment has begun is one of somebody whose clock is behind: it counts from there on.
"""

from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec

from projections.experiment_terms import Known
from projections.goal_moments import GOALS
from projections.read_model import Row, Transaction
from projections.visitor_links import LINKED, WHO

_NEVER = datetime(9999, 1, 1, tzinfo=UTC)

# Who is behind each exposure is looked up once. Exposures meet orders and moments in full joins,
# which Postgres can only do by hashing or sorting: of a table that has just grown it believes that
# it is nearly empty, and would look through all orders for each exposure, for minutes.
_COUNTED = f"""
    WITH told_exposed AS (
        SELECT {WHO} AS who, told.unit, told.arm, told.exposed_at
        FROM (
            SELECT *, substr(ranked, 2) COLLATE "default" AS visitor FROM experiment_exposures
            WHERE shop = $1 AND experiment_id = $2 AND arm = ANY ($3) AND NOT bot
                AND exposed_at < $5
        ) AS told {LINKED}
    ),
    exposed AS MATERIALIZED (
        SELECT DISTINCT ON (who) who, arm, exposed_at,
            min(arm) OVER of_who <> max(arm) OVER of_who AS crossed
        FROM told_exposed WINDOW of_who AS (PARTITION BY who)
        ORDER BY who, exposed_at, unit, arm
    ),
    -- What was taken back and said again in another currency comes to nothing in the first.
    sold AS MATERIALIZED (
        SELECT max(who) AS who, max(at) AS at,
            coalesce(sum(net) FILTER (WHERE currency = $7), 0) AS net,
            coalesce(sum(refunds) FILTER (WHERE currency = $7), 0) AS refunds,
            coalesce(sum(orders) FILTER (WHERE currency <> $7), 0) > 0 AS elsewhere
        FROM (
            SELECT order_id, {WHO} AS who, told.at, NULL AS currency, 0 AS net, 0 AS refunds,
                0 AS orders
            FROM (
                SELECT shop, order_id, completed_at AS at, 'o:' || order_id AS visitor
                FROM orders WHERE shop = $1 AND completed_at >= $4 AND completed_at < $5
            ) AS told {LINKED}
            UNION ALL
            SELECT order_id, NULL, NULL, currency, gross - discounts - refunds, refunds, orders
            FROM sales_lines WHERE shop = $1 AND hour >= $6
        ) AS lines
        GROUP BY order_id HAVING count(at) > 0
    ),
    outcomes AS (
        SELECT arm, count(*) AS orders, sum(net) AS net, sum(refunds) AS refunds,
            count(*) FILTER (WHERE elsewhere) AS elsewhere
        FROM exposed FULL JOIN sold USING (who)
        WHERE coalesce(at >= exposed_at, false) GROUP BY who, arm
    ),
    bought AS (
        SELECT arm, count(*) AS buyers,
            sum(orders)::bigint AS orders, sum(orders * orders)::bigint AS orders_squares,
            count(*) FILTER (WHERE net <> 0) AS revenue_active,
            sum(net) AS revenue, sum(net * net) AS revenue_squares,
            count(*) FILTER (WHERE refunds <> 0) AS refunds_active,
            sum(refunds) AS refunds, sum(refunds * refunds) AS refunds_squares,
            sum(elsewhere)::bigint AS elsewhere
        FROM outcomes GROUP BY arm
    ),
    done AS MATERIALIZED (
        SELECT {WHO} AS who, told.goal, max(told.at) AS at
        FROM (
            SELECT $1 AS shop, visitor, goal, max(at) AS at FROM goal_moments
            WHERE shop = $1 AND goal = ANY ($8) AND at >= $4 AND at < $5 GROUP BY visitor, goal
        ) AS told {LINKED}
        GROUP BY 1, 2
    ),
    reached AS MATERIALIZED (
        SELECT arm, goal, count(*) AS units FROM exposed FULL JOIN done USING (who)
        WHERE coalesce(at >= exposed_at, false) GROUP BY arm, goal
    ),
    fell AS (SELECT arm, count(*) AS units, count(*) FILTER (WHERE crossed) AS crossed
        FROM exposed GROUP BY arm)
    SELECT fell.*, bought.*, fell.arm AS arm,
        (SELECT json_object_agg(goal, units) FROM reached WHERE reached.arm = fell.arm) AS reached
    FROM fell LEFT JOIN bought ON bought.arm = fell.arm
"""  # noqa: S608  (made of constants)

_FELL = """
    SELECT greatest(1, width_bucket(exposed_at, $5::timestamptz[])) AS phase, arm, count(*) AS units
    FROM (
        SELECT DISTINCT ON (unit) unit, arm, exposed_at FROM experiment_exposures
        WHERE shop = $1 AND experiment_id = $2 AND arm = ANY ($3) AND NOT bot AND exposed_at < $4
        ORDER BY unit, exposed_at, arm
    ) AS told
    GROUP BY phase, arm
"""
_LEFT_OUT = """
    SELECT count(DISTINCT unit) FROM experiment_exposures
    WHERE shop = $1 AND experiment_id = $2
        AND (bot OR NOT (arm = ANY ($3)) OR exposed_at >= $4)
"""
_UNITS = """
    SELECT experiment_id, count(DISTINCT unit) AS units FROM experiment_exposures
    WHERE shop = $1 AND NOT bot GROUP BY experiment_id
"""


class Sums(NamedTuple):
    """Of one metric and arm: how many units have an outcome, what it comes to, and the sum of the
    squares of what each comes to."""

    active: int
    total: Any
    squares: Any


class Counted(NamedTuple):
    """An arm: how many there are of its units, how many of them saw another arm, too, how many of
    their orders are in another currency, and what they did."""

    units: int
    crossed: int
    elsewhere: int
    metrics: dict[str, Sums]


class Figures(NamedTuple):
    """An experiment's arms; how many units fell to each arm in each phase, by their own ids; and
    how many units are not counted: robots, of no arm there is, or come when it was over."""

    arms: dict[str, Counted]
    fell: Sequence[dict[str, int]]
    left_out: int


_ORDERED_METRICS = ("conversion", "orders", "revenue", "refunds")


async def figures(
    transaction: Transaction, shop: str, known: Known, metrics: Collection[str], hour: datetime
) -> Figures:
    """What is counted of an experiment by now. `hour` is the one of the shop's clock in which it
    has begun: money counts that is dated from there on."""
    names = [one.name for one in known.terms.arms]
    whose, until = (shop, known.terms.experiment_id, names), known.stopped_at or _NEVER
    goals = sorted(GOALS & set(metrics))
    rows = await transaction.fetch(
        _COUNTED, *whose, known.started_at, until, hour, known.terms.currency, goals
    )
    arms = dict.fromkeys(names, _nothing(goals)) | {
        row["arm"]: _counted(row, goals) for row in rows
    }
    fell: list[dict[str, int]] = [{} for _ in known.phases]
    begins = [phase.begins for phase in known.phases]
    for row in await transaction.fetch(_FELL, *whose, until, begins):
        fell[row["phase"] - 1][row["arm"]] = row["units"]
    left_out = await transaction.fetchval(_LEFT_OUT, *whose, until)
    return Figures(arms, fell, left_out)


async def units(transaction: Transaction, shop: str) -> dict[str, int]:
    """How many units have come to see an arm, by experiment."""
    rows = await transaction.fetch(_UNITS, shop)
    return {row["experiment_id"]: row["units"] for row in rows}


def _nothing(goals: Sequence[str]) -> Counted:
    return Counted(0, 0, 0, dict.fromkeys((*_ORDERED_METRICS, *goals), Sums(0, 0, 0)))


def _counted(row: Row, goals: Sequence[str]) -> Counted:
    """An arm's row. Where nobody has bought anything its sums are null."""

    def sums(metric: str, active: str) -> Sums:
        return Sums(row[active] or 0, row[metric] or 0, row[f"{metric}_squares"] or 0)

    buyers = row["buyers"] or 0
    reached = _reached.decode(row["reached"] or "{}")
    return Counted(
        row["units"],
        row["crossed"],
        row["elsewhere"] or 0,
        {
            "conversion": Sums(buyers, buyers, buyers),
            "orders": sums("orders", "buyers"),
            "revenue": sums("revenue", "revenue_active"),
            "refunds": sums("refunds", "refunds_active"),
        }
        | {goal: Sums(*[reached.get(goal, 0)] * 3) for goal in goals},
    )


_reached = msgspec.json.Decoder(dict[str, int])
