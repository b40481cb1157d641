"""The dedupe window, held against a list that is searched by hand."""

from collections.abc import Sequence
from itertools import accumulate, pairwise
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams import dedupe
from streams.dedupe import Seen, Window

Record = tuple[int, int, int]  # offset, id, fingerprint


def searched(records: Sequence[Record], size: int) -> list[Seen]:
    """What each record is, by looking at the `size` offsets before it, the latest first."""
    answers = []
    for at, (offset, id_, fingerprint) in enumerate(records):
        earlier = [
            (there, said)
            for there, other, said in records[:at]
            if other == id_ and offset - there <= size
        ]
        if not earlier:
            answers.append(Seen.NEW)
        elif max(earlier)[1] == fingerprint:
            answers.append(Seen.REPEATED)
        else:
            answers.append(Seen.CONTRADICTED)
    return answers


def taken(window: Window, records: Sequence[Record]) -> list[int]:
    offsets, ids, prints = (list(column) for column in zip(*records, strict=True))
    seen: list[int] = window.take(
        np.array(offsets, np.int64), np.array(ids, np.uint64), np.array(prints, np.uint64)
    ).tolist()
    return seen


def chunked(window: Window, records: Sequence[Record], cuts: Sequence[int]) -> list[int]:
    bounds = [0, *sorted({cut % (len(records) + 1) for cut in cuts}), len(records)]
    return [
        seen
        for start, end in pairwise(bounds)
        if start < end
        for seen in taken(window, records[start:end])
    ]


@st.composite
def logs(draw: st.DrawFn, most: int = 60) -> list[Record]:
    """Records with few ids, so that they meet; ids that share the end of their hash, so that
    they collide in the table; and now and then a hole in the offsets."""
    length = draw(st.integers(1, most))
    steps = draw(
        st.lists(st.sampled_from([1, 1, 1, 1, 2, 3, 17]), min_size=length, max_size=length)
    )
    start = draw(st.sampled_from([0, 1, 5, 10**12]))
    id_ = st.sampled_from([0, 1, 2, 3, 2**63, 2**64 - 1, *(n << 40 for n in range(1, 12))])
    ids = draw(st.lists(id_, min_size=length, max_size=length))
    prints = draw(st.lists(st.integers(0, 1), min_size=length, max_size=length))
    offsets = accumulate(steps[1:], initial=start)
    return list(zip(offsets, ids, prints, strict=True))


@settings(max_examples=200)
@given(logs(), st.integers(1, 40), st.lists(st.integers(0, 1000), max_size=30))
def test_a_window_says_what_a_search_of_the_list_says_however_the_log_is_cut(
    records: list[Record], size: int, cuts: list[int]
) -> None:
    assert chunked(Window(size), records, cuts) == searched(records, size)


@pytest.mark.parametrize("few", [0, 4, 16])
@pytest.mark.parametrize("size", [13, 20, 50])
def test_neither_copies_in_one_chunk_nor_colliding_ids_mislead_it(
    few: int, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dedupe, "_FEW", few)
    random = Random(size)
    for _ in range(150):
        ids = [n * 2 ** random.choice([0, 1, 5, 7, 40]) for n in range(size + size // 2)]
        log = [(offset, random.choice(ids), random.randrange(2)) for offset in range(8 * size)]
        cuts = sorted(random.randrange(len(log)) for _ in range(12))
        assert chunked(Window(size), log, cuts) == searched(log, size)


@given(logs(), st.integers(1, 40), st.integers(0, 1000), st.lists(st.integers(0, 1000)))
def test_a_window_rebuilt_from_its_own_size_of_records_goes_on_as_the_old_one(
    records: list[Record], size: int, cut: int, cuts: list[int]
) -> None:
    at = cut % len(records)
    whole = Window(size)
    rest = chunked(whole, records, cuts)[at:]
    rebuilt = Window(size)
    end = records[at][0]
    if kept := [record for record in records[:at] if record[0] >= end - size]:
        chunked(rebuilt, kept, cuts)
    assert taken(rebuilt, records[at:]) == rest
    assert rebuilt.end == whole.end == records[-1][0] + 1


def test_a_record_repeats_up_to_the_size_of_the_window_and_no_further() -> None:
    for distance, answer in ((5, Seen.REPEATED), (6, Seen.NEW)):
        log = [(0, 7, 1), *((offset, 100 + offset, 1) for offset in range(1, distance))]
        again = (distance, 7, 1)
        apart, together = Window(5), Window(5)
        taken(apart, log)
        assert taken(apart, [again]) == [answer]
        assert taken(together, [*log, again])[-1] == answer


def test_the_same_id_with_another_body_contradicts_whatever_became_of_it() -> None:
    log = [(0, 7, 1), (1, 7, 2), (2, 7, 2), (3, 7, 1), (4, 7, 1)]
    answers = [Seen.NEW, Seen.CONTRADICTED, Seen.REPEATED, Seen.CONTRADICTED, Seen.REPEATED]
    assert taken(Window(10), log) == answers
    one_by_one = Window(10)
    assert [taken(one_by_one, [record])[0] for record in log] == answers


def test_a_window_that_has_seen_nothing_begins_at_nothing() -> None:
    window = Window(3)
    assert window.end == 0
    nothing = window.take(np.zeros(0, np.int64), np.zeros(0, np.uint64), np.zeros(0, np.uint64))
    assert nothing.size == 0
    assert window.end == 0


@pytest.mark.parametrize("chunk", [1_000, 7_777, 50_000])
def test_a_long_log_of_many_chunks_is_judged_as_a_dictionary_would(chunk: int) -> None:
    random = np.random.default_rng(chunk)
    length, size = 100_000, 5_000
    ids = random.integers(0, 2 * size, length).astype(np.uint64) * np.uint64(2**32 + 1)
    prints = random.integers(0, 2, length).astype(np.uint64)
    window, answers = Window(size), list[int]()
    for start in range(0, length, chunk):
        part = slice(start, start + chunk)
        offsets = np.arange(start, min(start + chunk, length))
        answers += window.take(offsets, ids[part], prints[part]).tolist()
    last: dict[int, int] = {}
    for offset in range(length):
        before = last.get(int(ids[offset]))
        wanted = Seen.NEW
        if before is not None and offset - before <= size:
            same = prints[before] == prints[offset]
            wanted = Seen.REPEATED if same else Seen.CONTRADICTED
        assert answers[offset] == wanted
        last[int(ids[offset])] = offset
