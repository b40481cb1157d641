"""The same by months: whole months of the daily values, and the long-term model on them."""

from datetime import date

import numpy as np
from numpy.typing import NDArray

from loadtests.evaluate.frame import Frame
from loadtests.evaluate.rolling import Tick
from loadtests.evaluate.sheet import BadTable
from ml_online.daily import QUANTILES, Forecasts
from ml_online.monthly import HORIZON, calendar_month, forecast_months, ordinal

SEASON = 12
SHORTEST_PAST = SEASON + 2
"""Months before the first origin, at the least: of fewer there is no scale."""

__all__ = ["HORIZON", "SEASON", "SHORTEST_PAST", "Months", "by_month", "tillstream"]


class Months(Frame):
    """A frame whose days are months; `first` is the ordinal of one."""

    __slots__ = ()

    def day(self, number: int) -> date:
        """The first day of a month by its number."""
        month = self.first + number
        return date(month // SEASON, calendar_month(month), 1)


def by_month(frame: Frame) -> Months:
    """Sums of whole months: NaN where a day of them is not known. Raises BadTable."""
    dates = [frame.day(number) for number in range(frame.days)]
    month = np.array([ordinal(one.year, one.month) for one in dates])
    first = int(month[0]) + (dates[0].day != 1)
    ends_whole = date.fromordinal(dates[-1].toordinal() + 1).day == 1
    last = int(month[-1]) - (not ends_whole)
    if last < first:
        raise BadTable("there is no whole month from the first day to the last")
    sums = [frame.values[:, month == one].sum(axis=1) for one in range(first, last + 1)]
    values = np.stack(sums, axis=1)
    return Months(frame.keys, first, values, [], np.zeros((*values.shape, 0)))


def tillstream(
    frame: Frame, origin: int, horizon: int, judged: NDArray[np.bool_], tick: Tick
) -> tuple[Forecasts, int]:
    """The monthly model that is served, as of an origin."""
    point = np.zeros((len(frame.keys), horizon))
    quantiles = np.zeros((*point.shape, len(QUANTILES)))
    for row in np.flatnonzero(judged):
        known = frame.values[row, : origin + 1]
        begin = int((~np.isnan(known)).argmax())
        found = forecast_months(
            known[begin:].tolist(), horizon, calendar_month(frame.first + begin)
        )
        point[row], quantiles[row] = found.point, found.quantiles
        tick(1 / len(point))
    return Forecasts(point, quantiles), 0
