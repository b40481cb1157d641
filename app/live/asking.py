"""What a live query asks: a report, with the filters of its HTTP query."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from app.live.protocol import Subscribe
from app.reports import asking
from app.reports.report import Asked, Report
from app.reports.table import QUERIES
from streams.codec import Refused

NOT_LIVE: Mapping[str, str] = {
    "as_of": "a live query is of now",
    "min_position": "a live query follows all that comes",
    "wait": "a live query follows all that comes",
    "shop": "the shop is told beside the filter",
}
"""What a report may be asked with, and a live query's filter may not, and why."""


class Question(NamedTuple):
    """A report and what it is asked; whoever asks the same shares its answers."""

    report: Report[Any]
    asked: Asked

    @property
    def key(self) -> tuple[str, str]:
        """The same for all who ask the same."""
        return self.report.name, self.asked.model_dump_json()


def question(wanted: Subscribe) -> Question:
    """What a subscription to a report asks. Raises Refused with the field and the reason."""
    report = QUERIES[wanted.subscribe]
    for name in wanted.filter:
        if name in NOT_LIVE:
            raise Refused(f"filter.{name}", NOT_LIVE[name])
    told = {
        name: [value] if isinstance(value, str) else value for name, value in wanted.filter.items()
    }
    try:
        return Question(report, asking.asked_of(report, {"shop": [wanted.shop], **told}))
    except Refused as refused:
        if refused.field == "shop":
            raise
        field = f"filter.{refused.field}" if refused.field else "filter"
        raise Refused(field, refused.reason) from None


def parameters(report: Report[Any]) -> Sequence[str]:
    """What a live query of a report may be filtered by."""
    return [name for name in asking.parameters(report) if name not in NOT_LIVE]
