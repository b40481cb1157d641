"""The shop's clock: its hours and days, in zones that move."""

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projections.clock import ShopClock, instant

ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/St_Johns",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Pacific/Kiritimati",
)
START = datetime(1995, 1, 1, tzinfo=UTC)
times = st.timedeltas(timedelta(0), timedelta(days=40 * 365)).map(lambda since: START + since)


@given(times, st.sampled_from(ZONES))
def test_the_hour_of_a_time_began_on_the_hour_of_the_shops_clock(at: datetime, zone: str) -> None:
    clock = ShopClock(ZoneInfo(zone))
    begun = instant(clock.hour(at))
    shown = begun.astimezone(clock.zone)
    assert timedelta(0) <= at - begun < timedelta(hours=1)
    if shown.utcoffset() == at.astimezone(clock.zone).utcoffset():
        assert (shown.minute, shown.second) == (0, 0)
        assert shown.hour == at.astimezone(clock.zone).hour


@given(times, st.sampled_from(ZONES))
def test_the_day_of_an_hour_is_the_date_of_every_time_in_it(at: datetime, zone: str) -> None:
    clock = ShopClock(ZoneInfo(zone))
    assert clock.day(clock.hour(at)) == at.astimezone(clock.zone).date()


@given(times, st.sampled_from(ZONES))
def test_a_day_lasts_from_its_midnight_to_the_next(at: datetime, zone: str) -> None:
    clock = ShopClock(ZoneInfo(zone))
    day = at.astimezone(clock.zone).date()
    assert clock.midnight(day) <= at < clock.midnight(day + timedelta(days=1))


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Europe/Berlin", date(2026, 3, 29), 23),
        ("Europe/Berlin", date(2026, 10, 25), 25),
        ("Europe/Berlin", date(2026, 6, 1), 24),
        ("America/New_York", date(2026, 3, 8), 23),
        ("America/New_York", date(2026, 11, 1), 25),
        ("UTC", date(2026, 3, 29), 24),
    ],
)
def test_a_day_has_as_many_hours_as_its_zone_gives_it(zone: str, day: date, hours: int) -> None:
    clock = ShopClock(ZoneInfo(zone))
    start = clock.midnight(day) - timedelta(hours=2)
    minutes = (start + timedelta(minutes=minute) for minute in range(30 * 60))
    of_day = Counter(hour for at in minutes if clock.day(hour := clock.hour(at)) == day)
    assert len(of_day) == hours
    assert set(of_day.values()) == {60}
    assert clock.midnight(day + timedelta(days=1)) - clock.midnight(day) == timedelta(hours=hours)


def test_the_hour_that_comes_twice_in_autumn_is_two_hours() -> None:
    clock = ShopClock(ZoneInfo("Europe/Berlin"))
    first = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    again = datetime(2026, 10, 25, 1, 30, tzinfo=UTC)
    shown = [at.astimezone(clock.zone).strftime("%H:%M") for at in (first, again)]
    assert shown == ["02:30", "02:30"]
    assert clock.hour(again) - clock.hour(first) == 3600
    assert clock.day(clock.hour(first)) == clock.day(clock.hour(again)) == date(2026, 10, 25)


@pytest.mark.parametrize(
    ("zone", "begun"),
    [
        ("Asia/Kolkata", datetime(2026, 5, 1, 11, 30, tzinfo=UTC)),
        ("Asia/Kathmandu", datetime(2026, 5, 1, 11, 15, tzinfo=UTC)),
        ("America/St_Johns", datetime(2026, 5, 1, 11, 30, tzinfo=UTC)),
        ("Europe/Berlin", datetime(2026, 5, 1, 12, tzinfo=UTC)),
    ],
)
def test_hours_of_half_hour_zones_begin_at_half_past(zone: str, begun: datetime) -> None:
    clock = ShopClock(ZoneInfo(zone))
    assert instant(clock.hour(datetime(2026, 5, 1, 12, 10, 59, 999_999, tzinfo=UTC))) == begun


def test_times_before_1970_have_hours_too() -> None:
    clock = ShopClock(ZoneInfo("UTC"))
    at = datetime(1969, 12, 31, 23, 59, 59, 500_000, tzinfo=UTC)
    assert instant(clock.hour(at)) == datetime(1969, 12, 31, 23, tzinfo=UTC)
