"""The calendar that forecasters take: what reaches which series, and what is kept."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from math import log
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_online.calendar import KNOWN, Calendar
from ml_online.public_holidays import code_of, holidays_of
from streams.events import CalendarEntryPlanned

AT = datetime(2026, 2, 1, tzinfo=UTC)
FIRST = date(2026, 3, 1)
DAYS = 10
PARENTS: Mapping[str, Mapping[str, str]] = {
    "variant": {"mug-red": "mug", "mug-blue": "mug", "jug-big": "jug", "odd": "odd"},
    "product": {"mug": "kitchen", "jug": "kitchen", "lamp": "light"},
    "country": {"DE": "", "PT": ""},
}
KEYS: Mapping[str, Sequence[str]] = {
    "total": [""],
    "country": ["DE", "PT"],
    "category": ["kitchen", "light"],
    "product": ["mug", "jug", "lamp"],
    "variant": ["mug-red", "mug-blue", "jug-big", "odd"],
}


def entry(name: str, first: int = 0, last: int = 0, **told: Any) -> CalendarEntryPlanned:
    days = [(FIRST + timedelta(days=day)).isoformat() for day in (first, last)]
    return CalendarEntryPlanned(
        entry_id=name, first=days[0], last=days[1], **{"kind": "promotion", **told}
    )


def calendar(*entries: CalendarEntryPlanned) -> Calendar:
    found = Calendar()
    for one in entries:
        found.plan("main", one, AT)
    return found


def known(found: Calendar, level: str, kind: str) -> dict[str, Any]:
    """By key, the values of the window's days."""
    keys = KEYS[level]
    values = found.known("main", level, keys, PARENTS, FIRST.toordinal(), DAYS)
    assert values.shape == (len(keys), DAYS, len(KNOWN))
    return dict(zip(keys, values[..., KNOWN.index(kind)].tolist(), strict=True))


def on_first(found: Calendar, level: str, kind: str) -> dict[str, Any]:
    return {key: values[0] for key, values in known(found, level, kind).items()}


@pytest.mark.parametrize("level", KEYS)
def test_what_holds_for_the_shop_holds_for_every_series_on_its_days_alone(level: str) -> None:
    found = calendar(entry("a", 2, 4, kind="closed"), entry("b", -5, 0), entry("c", 9, 30))
    for values in known(found, level, "closed").values():
        assert values == [0, 0, 1, 1, 1, 0, 0, 0, 0, 0]
    for values in known(found, level, "promotion").values():
        assert values == [1, 0, 0, 0, 0, 0, 0, 0, 0, 1]
    elsewhere = found.known("east", level, KEYS[level], PARENTS, FIRST.toordinal(), DAYS)
    assert not elsewhere.any()


def test_what_holds_for_a_part_holds_for_what_lies_in_it() -> None:
    found = calendar(entry("a", kind="price", value="0.5", level="category", key="kitchen"))
    half = log(0.5)
    assert on_first(found, "variant", "price") == {
        "mug-red": half, "mug-blue": half, "jug-big": half, "odd": 0,
    }  # fmt: skip
    assert on_first(found, "product", "price") == {"mug": half, "jug": half, "lamp": 0}
    assert on_first(found, "category", "price") == {"kitchen": half, "light": 0}
    assert on_first(found, "total", "price") == {"": 0}
    assert on_first(found, "country", "price") == {"DE": 0, "PT": 0}


def test_of_two_prices_the_nearer_holds_and_of_two_as_near_the_later() -> None:
    found = Calendar()
    near = entry("z", kind="price", value="0.9", level="product", key="mug")
    found.plan("main", near, AT)
    found.plan("main", entry("a", kind="price", value="0.5"), AT + timedelta(days=2))
    found.plan("main", entry("b", kind="price", value="0.6"), AT + timedelta(days=1))
    assert on_first(found, "product", "price") == {
        "mug": log(0.9),
        "jug": log(0.5),
        "lamp": log(0.5),
    }


def test_a_wider_series_gets_the_share_of_what_in_it_is_on_promotion() -> None:
    found = calendar(entry("a", level="variant", key="mug-red", value="2"))
    assert on_first(found, "product", "promotion") == {"mug": 1, "jug": 0, "lamp": 0}
    assert on_first(found, "category", "promotion") == {"kitchen": 0.5, "light": 0}
    assert on_first(found, "total", "promotion") == {"": pytest.approx(1 / 3)}
    assert on_first(found, "country", "promotion")["PT"] == pytest.approx(1 / 3)
    found = calendar(entry("a", level="category", key="kitchen"))
    assert on_first(found, "total", "promotion") == {"": pytest.approx(2 / 3)}
    assert on_first(found, "category", "promotion") == {"kitchen": 1, "light": 0}
    found = calendar(entry("a", level="country", key="PT"))
    assert on_first(found, "total", "promotion") == {"": 0.5}
    assert on_first(found, "country", "promotion") == {"DE": 0, "PT": 1}
    assert not any(on_first(found, "variant", "promotion").values())


def test_of_several_promotions_the_strongest_holds() -> None:
    found = calendar(entry("a", value="0.5"), entry("b", level="product", key="mug", value="2"))
    assert on_first(found, "product", "promotion") == {"mug": 2, "jug": 0.5, "lamp": 0.5}


def test_what_is_said_anew_holds_alone_and_what_is_withdrawn_no_more() -> None:
    found = calendar(entry("a", value="1"))
    found.plan("main", entry("a", value="3"), AT + timedelta(days=5))
    found.withdraw("main", "never planned")
    assert on_first(found, "total", "promotion") == {"": 3}
    assert len(list(found.state())) == 2
    found.withdraw("main", "a")
    assert on_first(found, "total", "promotion") == {"": 0}
    assert len(list(found.state())) == 1


def test_a_supposition_is_nobodys_plan() -> None:
    found = calendar(entry("a", kind="price", value="0.9"))
    before = list(found.state())
    other = found.supposing("main", [entry("what-if", kind="price", value="0.5")])
    assert on_first(other, "total", "price") == {"": log(0.5)}
    assert on_first(found, "total", "price") == {"": log(0.9)}
    other.plan("main", entry("b"), AT)
    other.plan("main", entry("a", kind="closed"), AT)
    assert list(found.state()) == before


def test_days_that_no_calendar_has_are_not_planned_and_prices_are_no_infinities() -> None:
    found = calendar(
        CalendarEntryPlanned(entry_id="a", kind="closed", first="2026-02-30", last="2026-03-09"),
        entry("b", kind="price", value="0"),
    )
    assert on_first(found, "total", "closed") == {"": 0}
    assert on_first(found, "total", "price") == {"": -log(100)}


def test_what_is_long_over_can_be_forgotten() -> None:
    found = calendar(entry("a", 0, 3), entry("b", 0, 5))
    found.plan("main", entry("c", 5, 9), AT)
    found.plan("main", entry("c", 0, 3), AT + timedelta(days=1))
    found.forget("main", FIRST.toordinal() + 4)
    assert [row[1] for row in list(found.state())[1:]] == ["b"]


SAID = st.lists(
    st.tuples(
        st.sampled_from(["main", "east"]),
        st.sampled_from(["a", "b", "c"]),
        st.one_of(
            st.none(),
            st.builds(
                entry,
                st.just(""),
                st.integers(-5, 12),
                st.integers(-5, 12),
                kind=st.sampled_from(["closed", "promotion", "price"]),
                value=st.sampled_from(["1", "0.8", "2"]),
            ),
        ),
        st.sampled_from([(level, key) for level, keys in KEYS.items() for key in keys]),
    ),
    max_size=8,
)


@settings(deadline=None)  # the library of holidays is imported by the first that asks
@given(SAID)
def test_a_restored_calendar_is_the_same_and_asking_changes_nothing(
    said: list[tuple[str, str, CalendarEntryPlanned | None, tuple[str, str]]],
) -> None:
    found = Calendar()
    found.lies_in("main", "PT")
    for number, (shop, name, planned, (level, key)) in enumerate(said):
        at = AT + timedelta(minutes=number)
        if planned is None:
            found.withdraw(shop, name)
        else:
            told = {field: getattr(planned, field) for field in ("kind", "first", "last", "value")}
            one = CalendarEntryPlanned(entry_id=name, level=level, key=key, **told)  # type: ignore[arg-type]
            found.plan(shop, one, at)
    before = json.dumps(list(found.state()))
    again = Calendar()
    again.restore(json.loads(before))
    for level, keys in KEYS.items():
        asked = ("main", level, keys, PARENTS, FIRST.toordinal(), DAYS)
        values, others = found.known(*asked), again.known(*asked)
        assert values.tobytes() == others.tobytes()
        assert np.isfinite(values).all()
        assert set(np.unique(values[..., KNOWN.index("closed")])) <= {0.0, 1.0}
    assert json.dumps(list(found.state())) == json.dumps(list(again.state())) == before


# Holidays.


@pytest.mark.parametrize(
    ("told", "code"),
    [
        ("GB", "GB"), ("gbr", "GB"), ("United Kingdom", "GB"), ("GB-SCT", "GB-SCT"),
        ("EIRE", "IE"), ("USA", "US"), ("RSA", "ZA"), ("Hong Kong", "HK"), ("Guinea-Bissau", "GW"),
        ("Unspecified", None), ("European Community", None), ("", None), ("GB-XX", "GB"),
    ],
)  # fmt: skip
def test_a_country_is_known_however_it_is_written(told: str, code: str | None) -> None:
    assert code_of(told) == code


def test_holidays_are_those_of_the_shop_and_of_each_country() -> None:
    found = Calendar()
    new_year = date(2025, 12, 31).toordinal()

    def marks(level: str, keys: Sequence[str]) -> list[list[float]]:
        values = found.known("main", level, keys, {}, new_year, 3)
        rows: list[list[float]] = values[..., KNOWN.index("holiday")].tolist()
        return rows

    assert marks("total", [""]) == [[0, 0, 0]]
    found.lies_in("main", "GB-SCT")
    found.lies_in("main", None)  # is not told with every day
    assert marks("total", [""]) == [[0, 1, 1]]
    assert marks("variant", ["a", "b"]) == [[0, 1, 1]] * 2
    assert marks("country", ["United Kingdom", "Unspecified", "EIRE"]) == [
        [0, 1, 0],
        [0, 0, 0],
        [0, 1, 0],
    ]
    assert marks("country", []) == []


def test_a_year_of_england_has_its_bank_holidays() -> None:
    assert sorted(date.fromordinal(day).isoformat()[5:] for day in holidays_of("GB-ENG", 2010)) == [
        "01-01", "04-02", "04-05", "05-03", "05-31", "08-30", "12-25", "12-26", "12-27", "12-28",
    ]  # fmt: skip
