"""The shop's own clock: its hours and days, as instants and dates."""

from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)
_DAY = timedelta(days=1)
_BEGINNING, _END = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
_QUARTER = 900  # seconds; every zone's offset, now, is a multiple of this
_HOUR = 3600


class ShopClock:
    """Hours and days in one time zone. A day may have 23 or 25 hours; an hour is always one.

    An hour is named by the second, since 1970 in UTC, at which the shop's clock begins it: folds
    meet it as a key millions of times, and an int is the cheapest key.
    """

    def __init__(self, zone: ZoneInfo) -> None:
        self.zone = zone
        self._utc = zone.key == "UTC"
        self._of_quarter = lru_cache(maxsize=200_000)(self._local_hour)
        self.day = lru_cache(maxsize=100_000)(self._day)

    def __reduce__(self) -> tuple[type["ShopClock"], tuple[ZoneInfo]]:
        return ShopClock, (self.zone,)  # what it remembers stays in its process

    def hour(self, at: datetime) -> int:
        """The hour that the shop's clock shows at that time."""
        seconds = (at - _EPOCH) // _SECOND
        if self._utc:
            return seconds - seconds % _HOUR
        return self._of_quarter(seconds - seconds % _QUARTER)

    def _local_hour(self, quarter: int) -> int:
        return quarter - instant(quarter).astimezone(self.zone).minute * 60

    def _day(self, hour: int) -> date:
        """The shop's date in an hour."""
        return instant(hour).astimezone(self.zone).date()

    def days(self, first: datetime, last: datetime) -> list[date]:
        """The shop's days from one instant to another, both included."""
        start, end = self.day(self.hour(first)), self.day(self.hour(last))
        return [date.fromordinal(day) for day in range(start.toordinal(), end.toordinal() + 1)]

    def midnight(self, day: date) -> datetime:
        """The instant, in UTC, when a day of the shop begins."""
        return datetime.combine(day, time(), self.zone).astimezone(UTC)

    def span(self, first: date | None, last: date | None) -> tuple[datetime, datetime]:
        """From when, and before when, are the days first..last; None is as far as time goes."""
        return (
            self.midnight(first) if first else _BEGINNING,
            self.midnight(last + _DAY) if last else _END,
        )


def following(month: date) -> date:
    """The first day of the month after that of a day."""
    return (month.replace(day=28) + 4 * _DAY).replace(day=1)


def instant(hour: int) -> datetime:
    """When an hour begins."""
    return datetime.fromtimestamp(hour, UTC)


def moment(timestamp_ms: int) -> datetime:
    """A record's timestamp; 1970 where whoever wrote it set one that is none."""
    try:
        return datetime.fromtimestamp(timestamp_ms / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return datetime.fromtimestamp(0, UTC)
