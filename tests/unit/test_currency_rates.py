"""The read model of currency rates: what was said last holds, however the log is cut."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from projections.clock import ShopClock
from projections.currency_rates import fold
from projections.read_model import Setting
from streams import codec
from streams.codec import Fact
from streams.events import CurrencyRate, CurrencyRatesChanged, DayClosed, Event

AT = datetime(2026, 3, 1, tzinfo=UTC)
SETTING = Setting(ShopClock(ZoneInfo("UTC")), AT)

PAIRS = st.sampled_from([("USD", "EUR"), ("EUR", "USD"), ("GBP", "EUR")])
SAID = st.builds(
    CurrencyRate,
    day=st.sampled_from(["2026-02-28", "2026-03-01", "2026-02-30"]),
    rate=st.sampled_from([None, "0.92", "1.25"]),
)
TOLD = st.lists(
    st.tuples(st.sampled_from(["main", "east"]), PAIRS, st.lists(SAID, min_size=1, max_size=3)),
    max_size=12,
)


def facts(told: Sequence[tuple[str, tuple[str, str], list[CurrencyRate]]]) -> list[Fact]:
    found = []
    for offset, (shop, (currency, into), rates) in enumerate(told):
        data = CurrencyRatesChanged(currency=currency, into=into, rates=rates)
        event = Event(
            id=str(offset),
            type="CurrencyRatesChanged",
            shop=shop,
            subject=currency,
            time=AT,
            received_at=AT,
            data=Raw(codec.raw(data)),
        )
        found.append(Fact("days", 0, offset, event, data))
    return found


@given(TOLD, st.data())
def test_what_was_said_last_holds_however_the_log_is_cut_and_repeated(
    told: Sequence[tuple[str, tuple[str, str], list[CurrencyRate]]], data: st.DataObject
) -> None:
    read = facts(told)
    table: dict[tuple[Any, ...], tuple[str | None, int]] = {}
    at = 0
    while at < len(read):
        end = data.draw(st.integers(at + 1, len(read)))
        begin = data.draw(st.integers(0, at))  # some of it was read before
        rows = fold(read[begin:end], {}, SETTING).rows
        assert [row[:4] for row in rows] == sorted({row[:4] for row in rows})
        for *key, rate, offset in rows:
            if offset > table.get(tuple(key), (None, -1))[1]:  # as the table's upsert says
                table[tuple(key)] = rate, offset
        at = end
    expected = {
        (shop, currency, into, one.day): one.rate
        for shop, (currency, into), rates in told
        for one in rates
        if one.day != "2026-02-30"
    }
    # Of one event that names a day twice, which commands refuse, the first holds.
    twice = any(len({one.day for one in rates}) < len(rates) for _, _, rates in told)
    found = {key: rate for key, (rate, _) in table.items()}
    assert found.keys() == expected.keys()
    assert twice or found == expected


def test_other_events_of_days_say_no_rates() -> None:
    (one,) = facts([("main", ("USD", "EUR"), [CurrencyRate(day="2026-03-01", rate="1")])])
    closed = DayClosed(date="2026-03-01", positions={}, figures=[])
    assert fold([Fact("days", 0, 1, one.event, closed)], {}, SETTING).rows == []
