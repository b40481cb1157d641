"""What a report is: a name, what it may be asked, and the query that answers.

One row of `REPORTS` makes its route, its live subscription, its exports and its documentation.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Annotated, Any, Generic, Literal, NamedTuple, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from projections.clock import ShopClock
from projections.read_model import Transaction
from streams.codec import EARLIEST_YEAR, LATEST_YEAR

_NO_NUL = r"^[^\x00]*$"
_DAYS: dict[str, Any] = {"ge": date(EARLIEST_YEAR, 1, 1), "le": date(LATEST_YEAR, 12, 31)}

Key = Annotated[str, Field(max_length=512, pattern=_NO_NUL)]
CurrencyCode = Annotated[str, Field(pattern="^[A-Z]{3}$", description="ISO 4217")]
Kind = Literal["text", "money", "count", "share", "number", "day", "month", "time"]


class Asked(BaseModel):
    """What every report may be asked with. A parameter that it does not know is refused: a figure
    with a misspelt filter would be another figure."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    shop: Annotated[str, Field(max_length=128, pattern=_NO_NUL)] = "main"
    as_of: Annotated[
        str | None,
        Field(
            max_length=4000,
            description="as it was known at this moment (`2026-03-01T12:00:00Z`), or once these "
            "positions were in it (`orders:3:1234,…`)",
        ),
    ] = None
    min_position: Annotated[
        list[str],
        Field(
            max_length=100,
            description="answer only once these positions are in the figures, such as "
            "`orders:3:1234` or a command's `outbox:17`; after `wait` seconds a 504",
        ),
    ] = []
    wait: Annotated[float, Field(ge=0, le=30, description="seconds to wait for min_position")] = 2.0

    @property
    def joins(self) -> Sequence[str]:
        """The groups that are asked besides the report's own, because of what is asked."""
        return ()


class AskedRange(Asked):
    """A range of the shop's days, both ends included."""

    first: Annotated[
        date | None, Field(alias="from", description="first day, in the shop's zone", **_DAYS)
    ] = None
    last: Annotated[date | None, Field(alias="to", description="last day, included", **_DAYS)] = (
        None
    )

    @field_validator("last")
    @classmethod
    def _has_days(cls, last: date | None, asked: ValidationInfo) -> date | None:
        first = asked.data.get("first")
        if first and last and first > last:
            raise ValueError(f"from ({first}) is after it")
        return last


class TooManyRows(Exception):
    """There are more than whoever asks can take."""

    def __init__(self, most: int) -> None:
        super().__init__(f"there are more than {most} rows: ask for less, or for a file")


class Learner(Protocol):
    """Where the process that learns is asked."""

    async def told(
        self, path: str, params: Mapping[str, str | int | float | None], wait: float = 0.0
    ) -> tuple[int, dict[str, Any]]:
        """A status and an answer. Raises `app.learner.client.Away`."""


class Moment(NamedTuple):
    """When, and by which clock, a report is made; how long a cart is silent until it is given up;
    how many rows whoever asks can take, where there may be any number; and who can be asked for
    what is learned, and for what to recommend."""

    clock: ShopClock
    now: datetime
    cart_silence: timedelta = timedelta(hours=1)
    most_rows: int | None = None
    learner: Learner | None = None
    recommender: Learner | None = None

    @property
    def today(self) -> date:
        """The shop's day."""
        return self.clock.day(self.clock.hour(self.now))


class Column(NamedTuple):
    """One of a report's columns, and what stands in it.

    On the wire `money` and `number` are decimal strings, `count` a whole number, `share` a decimal
    string such as `"0.25"`, `day` `2026-03-01`, `month` `2026-03`, `time` ISO 8601 with its zone.
    """

    name: str
    kind: Kind = "text"


A = TypeVar("A", bound=Asked)


@dataclass(frozen=True)
class Report(Generic[A]):
    """A question with a name. `rows` answers it, as JSON has it, from the read models of `group`.

    `key` names the columns that tell its rows apart. What `ages` changes as time goes by, also
    where nothing happens. `also` are other groups that it asks: it is complete to where all are.
    One with a `past` is made of what folds keep, and can be asked as it was known then.
    `sums` are the columns that may be added up over its rows, within a currency: not heads, which
    are in several rows, nor means, ranks, or what stood at the end of a period. One that is `slow`
    takes seconds where there is much: over HTTP its answers are kept for a moment.
    """

    name: str
    says: str
    path: str
    group: str
    asked: type[A]
    columns: Callable[[A], Sequence[Column]]
    key: Callable[[A], Sequence[str]]
    rows: Callable[[Transaction, Moment, A], Awaitable[Sequence[Mapping[str, Any]]]]
    tag: str = "figures"
    ages: bool = False
    also: Sequence[str] = ()
    past: bool = True
    sums: Sequence[str] = ()
    topic: str | None = None
    slow: bool = False

    def others(self, asked: A) -> Sequence[str]:
        """All groups but its own that it asks."""
        return tuple(dict.fromkeys((*self.also, *asked.joins)))
