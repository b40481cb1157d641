"""Answers that are kept: as long as nothing has moved, or for some times as long as they took."""

import asyncio

import pytest

from app.api.kept import RESTS, KeptAnswers


class Shop:
    """What is counted, where it stands, and how long counting takes."""

    def __init__(self) -> None:
        self.now, self.counted, self.takes = 0.0, 0, 1.0
        self.position = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def standing(self) -> str:
        return str(self.position)

    async def make(self) -> dict[str, int]:
        self.counted += 1
        seen = self.position
        await self.gate.wait()
        self.now += self.takes
        return {"seen": seen}


async def test_an_answer_is_counted_again_once_something_moved_and_it_has_rested() -> None:
    shop = Shop()
    kept = KeptAnswers(lambda: shop.now)

    async def asked() -> int:
        found: int = (await kept.of("q", shop.make, shop.standing))["seen"]
        return found

    assert await asked() == 0
    shop.now += 1000
    assert (await asked(), shop.counted) == (0, 1)  # nothing has moved

    shop.position = 1
    assert (await asked(), shop.counted) == (1, 2)
    shop.position = 2
    shop.now += RESTS * shop.takes
    assert (await asked(), shop.counted) == (1, 2)  # it rests
    shop.now += 0.1
    assert (await asked(), shop.counted) == (2, 3)


async def test_what_moved_while_it_was_counted_is_not_taken_for_counted() -> None:
    shop = Shop()
    kept = KeptAnswers(lambda: shop.now)
    shop.gate.clear()
    first = asyncio.create_task(kept.of("q", shop.make, shop.standing))
    while not shop.counted:
        await asyncio.sleep(0)
    shop.position = 1
    shop.gate.set()
    assert await first == {"seen": 0}
    shop.now += 1000
    assert await kept.of("q", shop.make, shop.standing) == {"seen": 1}


async def test_who_asks_what_is_being_counted_waits_for_that_and_what_fails_is_not_kept() -> None:
    shop = Shop()
    kept = KeptAnswers(lambda: shop.now)
    shop.gate.clear()
    asking = [asyncio.create_task(kept.of("q", shop.make, shop.standing)) for _ in range(5)]
    while not shop.counted:
        await asyncio.sleep(0)
    asking[0].cancel()  # who goes away takes it from nobody
    shop.gate.set()
    assert await asyncio.gather(*asking[1:]) == [{"seen": 0}] * 4
    assert shop.counted == 1

    async def fails() -> dict[str, int]:
        raise OSError

    with pytest.raises(OSError):
        await kept.of("other", fails, shop.standing)
    assert await kept.of("other", shop.make, shop.standing) == {"seen": 0}


async def test_whoever_wants_what_has_just_happened_has_it_counted_for_all() -> None:
    shop = Shop()
    kept = KeptAnswers(lambda: shop.now)
    await kept.of("q", shop.make, shop.standing)
    shop.position = 1
    assert await kept.anew("q", shop.make, shop.standing) == {"seen": 1}
    assert await kept.of("q", shop.make, shop.standing) == {"seen": 1}
    assert shop.counted == 2
