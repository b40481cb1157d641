"""An evaluation of what customers will do: each model beside the others, and its figures."""

import time
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from loadtests.evaluate import customer_models
from loadtests.evaluate.command import OURS, bar
from loadtests.evaluate.customer_models import MODELS, NEEDS, Foretold
from loadtests.evaluate.purchases import (
    Holdout,
    Purchases,
    day_name,
    holdout_of,
    judged_days,
    split_of,
)
from loadtests.evaluate.sheet import BadTable
from ml_online.buying import Array
from ml_online.return_scores import auc

_PARTS = 10
_TOP = 0.1
_LONGEST = 3_650
_DIGITS = 6


class Settings(NamedTuple):
    """How it is evaluated. Without `peers`, all that are installed are asked."""

    split: str
    horizon: int
    peers: Sequence[str] | None = None


def evaluate(
    purchases: Purchases, settings: Settings, talk: Console
) -> tuple[dict[str, Any], bool]:
    """All figures as they are written, and whether Ctrl-C cut them short. Raises BadTable."""
    if not 1 <= settings.horizon <= _LONGEST:
        raise BadTable(f"--horizon {settings.horizon}: it is 1 to {_LONGEST} days")
    split = split_of(settings.split, purchases)
    holdout = holdout_of(purchases, split, settings.horizon)
    there = customer_models.installed() if settings.peers is None else list(settings.peers)
    asked = [OURS, *there]
    models: dict[str, Any] = {}
    found: dict[str, Any] = {
        "settings": _settings(purchases, settings, split, holdout, asked),
        "models": models,
    }
    for name in asked:
        try:
            begun = time.process_time()
            with bar(name, talk) as tick:
                told = MODELS[name](purchases, split, settings.horizon, holdout, tick)
        except KeyboardInterrupt:
            found["settings"]["left_out"] = asked[len(models) :]
            return found, True
        models[name] = figures(told, holdout) | {"seconds": round(time.process_time() - begun, 3)}
    return found, False


def _settings(
    purchases: Purchases, settings: Settings, split: int, holdout: Holdout, asked: Sequence[str]
) -> dict[str, Any]:
    ordered = holdout.orders > 0
    return {
        "split": day_name(split),
        "horizon": settings.horizon,
        "judged_days": judged_days(purchases, split, settings.horizon),
        "first_day": day_name(int(purchases.day[0])),
        "last_day": day_name(int(purchases.day[-1])),
        "orders": len(purchases.day),
        "customers": len(purchases.ids),
        "judged": len(holdout.who),
        "ordered_again": int(ordered.sum()),
        "orders_after": int(holdout.orders.sum()),
        "value_after": round(float(holdout.value.sum()), 4),
        "best_top_decile_value": _rounded(_captured(holdout.value, holdout.value)),
        "rows_of_nobody": purchases.nobodys,
        "days_of_returns": purchases.returns,
        "packages": {
            package: version(package)
            for package in sorted(
                {"numpy", "river", "scipy", *(NEEDS[one] for one in asked if one in NEEDS)}
            )
        },
        "left_out": [],
    }


def figures(told: Foretold, holdout: Holdout) -> dict[str, Any]:
    """What one model comes to. None where it says nothing of it, or it has no meaning."""
    ordered = holdout.orders > 0
    both = 0 < int(ordered.sum()) < len(ordered)
    return {
        "auc": _rounded(auc(told.score, ordered)) if both else None,
        "brier": _mean(told.chance, lambda chance: (chance - ordered) ** 2),
        "calibration_error": None if told.chance is None else _ece(told.chance, ordered),
        "mae_orders": _mean(told.orders, lambda orders: np.abs(orders - holdout.orders)),
        "rmse_orders": _root(told.orders, holdout.orders),
        "aggregate_orders": _off(told.orders, holdout.orders),
        "mae_value": _mean(told.value, lambda value: np.abs(value - holdout.value)),
        "rmse_value": _root(told.value, holdout.value),
        "aggregate_value": _off(told.value, holdout.value),
        "top_decile_value": None
        if told.value is None
        else _rounded(_captured(told.value, holdout.value)),
        "inside_80": _mean(
            told.interval,
            lambda ends: (ends[:, 0] <= holdout.orders) & (holdout.orders <= ends[:, 1]),
        ),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(float(value), _DIGITS)


def _mean(told: Array | None, of: Any) -> float | None:
    return None if told is None else _rounded(float(np.mean(of(told))))


def _root(told: Array | None, came: Array) -> float | None:
    return None if told is None else _rounded(float(np.sqrt(np.mean((told - came) ** 2))))


def _off(told: Array | None, came: Array) -> float | None:
    return None if told is None or not came.sum() else _rounded(told.sum() / came.sum() - 1)


def _captured(told: Array, came: Array) -> float | None:
    """The share of what came that those bring who are the first tenth by what was told."""
    first = np.argsort(-told, kind="stable")[: max(1, round(len(told) * _TOP))]
    return float(came[first].sum() / came.sum()) if came.sum() else None


def _ece(chance: Array, ordered: NDArray[np.bool_]) -> float:
    part = np.minimum((chance * _PARTS).astype(np.int64), _PARTS - 1)
    gap = np.bincount(part, chance - ordered, minlength=_PARTS)
    return round(float(np.abs(gap).sum() / len(chance)), _DIGITS)


_LINES = (
    ("AUC", "auc", ".3f"),
    ("Brier", "brier", ".4f"),
    ("calibration error", "calibration_error", ".3f"),
    ("MAE of orders", "mae_orders", ".3f"),
    ("RMSE of orders", "rmse_orders", ".3f"),
    ("orders in total", "aggregate_orders", "+.1%"),
    ("MAE of value", "mae_value", ",.2f"),
    ("RMSE of value", "rmse_value", ",.2f"),
    ("value in total", "aggregate_value", "+.1%"),
    ("first tenth brings", "top_decile_value", ".1%"),
    ("inside 80 %", "inside_80", ".1%"),
    ("CPU seconds", "seconds", ",.2f"),
)


def table_of(found: dict[str, Any]) -> Group:
    """A column for each model, from what is written as JSON."""
    settings = found["settings"]
    table = Table(box=None, header_style="dim")
    table.add_column("", no_wrap=True)
    for model in found["models"]:
        table.add_column(model.replace("_", " "), justify="right")
    for name, key, form in _LINES:
        values = (figures[key] for figures in found["models"].values())
        table.add_row(name, *("–" if one is None else format(one, form) for one in values))
    title = (
        f"{settings['judged']:,} customers by {settings['split']}, and the"
        f" {settings['judged_days']:,} days after: {settings['ordered_again']:,} ordered again"
    )
    best = settings["best_top_decile_value"]
    notes = "AUC: of ordering again; peers by the orders they expect, which ranks better."
    if best is not None:
        notes += f" At best the first tenth brings {best:.1%}."
    if settings["judged_days"] < settings["horizon"]:
        notes += f" The file ends before the {settings['horizon']:,} days that were asked for."
    if settings["rows_of_nobody"]:
        notes += f" {settings['rows_of_nobody']:,} rows do not say whose they are."
    if settings["days_of_returns"]:
        notes += f" {settings['days_of_returns']:,} days of returns are no orders."
    return Group(Text(title, style="bold"), table, Text(notes, style="dim"))
