"""`python -m loadtests.stock_outs`: how well running out of stock is foretold, beside others.

Settings were chosen on markets of the seeds 1 and 2, and what is printed is of others. All are
given the forecasts that are served; the Normal and the Poisson the mean, and the Normal the
variance, that was learned for whole lead times, but for the one that adds up the variance of days.
Stocks are what merchants would have: so much at the rate of the last four weeks.
"""

import argparse
import time
from collections.abc import Sequence

import numpy as np
from rich.console import Console
from rich.table import Table

from loadtests.stock_outs.chances import (
    CONTENDERS,
    LEADS,
    NORMAL,
    OURS,
    POISSON,
    Judged,
    judged,
    scores,
    together,
)
from loadtests.stock_outs.demand import KINDS, market
from loadtests.stock_outs.policy import LEAD, OVER, REVIEW, SHORT, TARGETS, costs

DAYS, ITEMS = 400, 400
JUDGING = (12, 13)
MOST_ECE = 0.02

_WIDTH = 110  # also where the output is no terminal


def main() -> None:
    """Prints the tables and whether the goals are met."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.stock_outs", description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(JUDGING))
    parser.add_argument("--items", type=int, default=ITEMS)
    asked = parser.parse_args()
    console, met = Console(), []
    console.width = max(console.width, _WIDTH)
    for kind in KINDS:
        begun = time.perf_counter()
        runs = [judged(market(kind, seed, DAYS, asked.items), seed) for seed in asked.seeds]
        by_lead = {lead: together([run[lead] for run in runs]) for lead in LEADS}
        every = together(list(by_lead.values()))
        console.print(_table(kind.name, every, by_lead), soft_wrap=True)
        ours, normal, poisson = (
            scores(every.chances[name], every.outcomes) for name in (OURS, NORMAL, POISSON)
        )
        good = ours.ece <= MOST_ECE and ours.brier < min(normal.brier, poisson.brier)
        met.append(good)
        seconds = time.perf_counter() - begun
        console.print(f"{'met' if good else 'MISSED'}; {seconds:.0f} s\n", highlight=False)
    console.print(_policies(asked.seeds, asked.items), soft_wrap=True)
    console.print(f"goals met: {sum(met)} of {len(met)} kinds of demand", highlight=False)


def _table(name: str, every: Judged, by_lead: dict[int, Judged]) -> Table:
    table = Table(
        title=f"{name}: {len(every.outcomes):,} chances, {every.outcomes.mean():.3f} came true",
        box=None,
        header_style="dim",
        title_justify="left",
    )
    table.add_column("")
    leads = [f"ECE, {lead} days" for lead in LEADS]
    for column in ("Brier", "ECE", "log loss", "AUC", *leads):
        table.add_column(column, justify="right")
    for contender in CONTENDERS:
        found = scores(every.chances[contender], every.outcomes)
        of_leads = [scores(one.chances[contender], one.outcomes).ece for one in by_lead.values()]
        table.add_row(contender, *(f"{one:.4f}" for one in (*found, *of_leads)))
    return table


def _policies(seeds: Sequence[int], items: int) -> Table:
    table = Table(
        title=f"Filled up once in {REVIEW} days, there after {LEAD}: a unit that is late costs "
        f"{SHORT:g}, one that lies over {OVER * REVIEW:g} a week",
        box=None,
        header_style="dim",
        title_justify="left",
    )
    table.add_column("")
    table.add_column("")
    for column in ("fill rate", "units in stock", "cost a day"):
        table.add_column(column, justify="right")
    for kind in KINDS:
        if kind.generating is None:
            continue  # of whose quantiles draws say too little
        runs = [costs(market(kind, seed, DAYS, items)) for seed in seeds]
        for name in TARGETS:
            rate, held, cost = np.mean([run[name] for run in runs], axis=0)
            table.add_row(kind.name, name, f"{rate:.4f}", f"{held:,.0f}", f"{cost:,.0f}")
    return table


if __name__ == "__main__":
    main()
