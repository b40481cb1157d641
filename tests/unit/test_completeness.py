"""Figures, asked for while Postgres is in trouble."""

from collections.abc import Sequence
from typing import Any, NoReturn, cast

import asyncpg
import pytest

from app.api.completeness import Figures
from app.api.problems import Problem

TROUBLE = (
    asyncpg.CannotConnectNowError("the database system is starting up"),
    asyncpg.AdminShutdownError("terminating connection due to administrator command"),
    asyncpg.TooManyConnectionsError("sorry, too many clients already"),
    ConnectionRefusedError(),
)


class Away:
    """A pool of a server that answers in this way alone."""

    def __init__(self, trouble: Exception) -> None:
        self._trouble = trouble

    def acquire(self, **_: object) -> NoReturn:
        raise self._trouble

    async def fetch(self, *_: object) -> NoReturn:
        raise self._trouble


@pytest.mark.parametrize("trouble", TROUBLE, ids=lambda trouble: type(trouble).__name__)
@pytest.mark.parametrize("min_position", [(), ("orders:0:7",)], ids=["at once", "waiting"])
async def test_a_postgres_that_is_away_is_answered_with_when_to_come_again(
    trouble: Exception, min_position: Sequence[str]
) -> None:
    figures = Figures(cast(Any, Away(trouble)), 2)
    with pytest.raises(Problem) as away:
        async with figures.snapshot("sales", min_position):
            pass
    assert (away.value.status, away.value.code) == (503, "postgres_unavailable")
    assert away.value.headers["Retry-After"]
