"""Whose turn it is under a key: one at a time, and what the first was answered with is for all."""

import asyncio

import pytest

from app.commands.turns import Turns, Waited


class Counter:
    """Something that is to be done once."""

    def __init__(self, *, fails: int = 0) -> None:
        self.turns: Turns[str, int] = Turns()
        self.done = self.at_once = self.most = 0
        self._fails = fails

    async def once(self, key: str = "k") -> int:
        async with self.turns.turn(key, 30) as turn:
            if turn.answer is not None:
                return turn.answer
            self.at_once += 1
            self.most = max(self.most, self.at_once)
            await asyncio.sleep(0)
            self.at_once -= 1
            if self._fails:
                self._fails -= 1
                raise OSError
            self.done += 1
            turn.answer = self.done
            return turn.answer


async def test_copies_get_what_the_first_was_answered_with() -> None:
    counter = Counter()
    assert set(await asyncio.gather(*(counter.once() for _ in range(50)))) == {1}
    assert counter.done == 1


async def test_where_the_first_fails_the_next_one_tries() -> None:
    counter = Counter(fails=2)
    found = await asyncio.gather(*(counter.once() for _ in range(9)), return_exceptions=True)
    assert [type(one) for one in found[:2]] == [OSError, OSError]
    assert set(found[2:]) == {1}
    assert counter.most == 1


async def test_other_keys_do_not_wait_and_nothing_is_kept() -> None:
    counter = Counter()
    await asyncio.gather(*(counter.once(f"k{n}") for n in range(9)))
    assert (counter.done, counter.most) == (9, 9)
    assert await counter.once("k1") == 10


async def test_nobody_waits_for_longer_than_they_would() -> None:
    turns: Turns[str, int] = Turns()
    async with turns.turn("k", 1):
        with pytest.raises(Waited):
            async with turns.turn("k", 0):
                raise AssertionError("it was not its turn")
    async with turns.turn("k", 0):
        pass
