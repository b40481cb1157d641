"""Whether demand has shifted: River's ADWIN (Bifet and Gavaldà 2007) on the errors of each day."""

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

if TYPE_CHECKING:
    from river.drift import ADWIN

MOST = 200
"""Groups that are watched, of one kind of series; those that come later are not."""

_KEPT = 730  # days that a detector looks back over; then half of them go
_LARGEST = 4.0  # errors, in multiples of the scale: one odd day is no shift
_CONFIDENCE = 0.05
# A threefold level shows after nine days. Errors that come in runs (an autocorrelation of 0.5) seem
# a shift once a year; with River's 0.002 the first would show never, for forecasts follow by then.
_REMEMBERED = 5
_REST = 28  # days in which what a shift leaves behind is none of its own


class Shift(Struct, frozen=True, array_like=True):
    """A day on which it was noticed that the mean error of a group had become another: positive
    where more was sold than foretold. In multiples of the series' scale."""

    day: int
    before: float
    since: float


class Watched(Struct, array_like=True):
    """What a detector has seen since it last forgot, and the shifts that it noticed."""

    errors: list[float] = field(default_factory=list)
    shifts: list[Shift] = field(default_factory=list)


class DriftWatch:
    """A detector for each group of series. All it does is a pure function of what it is told."""

    def __init__(self) -> None:
        self._watched: dict[str, Watched] = {}
        self._detectors: dict[str, ADWIN] = {}

    @staticmethod
    def load() -> None:
        """Imports what detects."""
        _fed([])

    def hear(self, day: int, errors: Mapping[str, float]) -> Mapping[str, Shift]:
        """The day's mean error of each group; those in which a shift shows."""
        return {
            group: self._watched[group].shifts[-1]
            for group, error in sorted(errors.items())
            if self._shifted(group, day, error)
        }

    def _shifted(self, group: str, day: int, error: float) -> bool:
        watched = self._watched.get(group)
        if watched is None:
            if len(self._watched) >= MOST:
                return False
            watched = self._watched[group] = Watched()
            self._detectors[group] = _fed([])
        error = max(-_LARGEST, min(_LARGEST, error))
        watched.errors.append(error)
        detector = self._detectors[group]
        detector.update(error)
        if detector.drift_detected:
            width = int(detector.width)
            before, since = watched.errors[:-width], watched.errors[-width:]
            if not watched.shifts or day - watched.shifts[-1].day >= _REST:
                watched.shifts.append(Shift(day, _mean(before), _mean(since)))
                del watched.shifts[:-_REMEMBERED]
            watched.errors = since
        elif len(watched.errors) >= _KEPT:
            del watched.errors[: _KEPT // 2]
        else:
            return False
        self._detectors[group] = _fed(watched.errors)
        return bool(watched.shifts) and watched.shifts[-1].day == day

    @property
    def shifts(self) -> Mapping[str, list[Shift]]:
        """Those noticed last, of each group that had any."""
        return {group: one.shifts for group, one in sorted(self._watched.items()) if one.shifts}

    def state(self) -> Iterator[Any]:
        """All of it, in rows of what JSON can say."""
        for group, one in sorted(self._watched.items()):
            shifts = [[shift.day, shift.before, shift.since] for shift in one.shifts]
            yield [group, one.errors, shifts]

    def restore(self, rows: Iterable[Any]) -> None:
        """Goes on from a state: a detector is what comes of the errors that it still knows."""
        self._watched = {
            group: Watched(list(errors), [Shift(*shift) for shift in shifts])
            for group, errors, shifts in rows
        }
        self._detectors = {group: _fed(one.errors) for group, one in self._watched.items()}


def _fed(errors: Iterable[float]) -> "ADWIN":
    from river.drift import ADWIN  # its import takes seconds, which only those who learn should

    detector = ADWIN(delta=_CONFIDENCE, clock=1)
    for error in errors:
        detector.update(error)
    return detector


def _mean(errors: list[float]) -> float:
    return sum(errors) / len(errors) if errors else 0.0
