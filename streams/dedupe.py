"""One event, counted once: which of a partition's records repeat an earlier one.

A record repeats if the same id stands among the previous N offsets of its partition, whatever
became of that record. That is a pure function of the log, so every reader and every replay agree.
"""

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Hashes = NDArray[np.uint64]

_EMPTY = -1
_FEW = 16


class Seen(IntEnum):
    """What a record is, in the light of those before it."""

    NEW = 0
    REPEATED = 1
    CONTRADICTED = 2  # the same id with another fingerprint


class Window:
    """The last `size` offsets of one partition: ids and fingerprints in a ring, indexed by id.

    The index is an open-addressing table of ring places, probed for whole chunks at a time.
    An entry that the ring has overwritten stays until the table is rebuilt and is no match.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._ids: Hashes = np.zeros(size, np.uint64)
        self._prints: Hashes = np.zeros(size, np.uint64)
        self._offsets: Ints = np.full(size, _EMPTY, np.int64)
        self._mask = (1 << (4 * size - 1).bit_length()) - 1
        self._table = np.full(self._mask + 1, _EMPTY, np.int32)
        self._entered = 0
        self.end = 0  # one past the last offset taken in

    def take(self, offsets: Ints, ids: Hashes, prints: Hashes) -> NDArray[np.uint8]:
        """Takes in the next records, ascending, and says what each is (a `Seen`)."""
        if len(ids) <= _FEW:
            found = [
                self._take_one(*one)
                for one in zip(offsets.tolist(), ids.tolist(), prints.tolist(), strict=True)
            ]
            return np.array(found, np.uint8)
        seen = np.zeros(len(ids), np.uint8)
        order = np.argsort(ids, kind="stable")
        again = order[1:][ids[order[1:]] == ids[order[:-1]]]
        before = order[:-1][ids[order[1:]] == ids[order[:-1]]]
        first = np.ones(len(ids), bool)
        first[again] = False

        firsts = np.flatnonzero(first)
        places = self._find(ids[firsts])[0]
        known = (places >= 0) & (offsets[firsts] - self._offsets[places] <= self._size)
        known &= self._offsets[places] >= 0
        seen[firsts[known]] = _compare(prints[firsts[known]], self._prints[places[known]])

        near = offsets[again] - offsets[before] <= self._size
        seen[again[near]] = _compare(prints[again[near]], prints[before[near]])

        last = np.ones(len(ids), bool)
        last[before] = False
        self._enter(offsets, ids, prints, np.flatnonzero(last))
        return seen

    def _take_one(self, offset: int, key: int, fingerprint: int) -> int:
        """The same for one record: for a few, numpy costs more than it saves."""
        slot, seen = key & self._mask, Seen.NEW
        while (place := int(self._table[slot])) != _EMPTY:
            if int(self._ids[place]) == key:
                if self._offsets[place] >= 0 and offset - self._offsets[place] <= self._size:
                    same = int(self._prints[place]) == fingerprint
                    seen = Seen.REPEATED if same else Seen.CONTRADICTED
                break
            slot = (slot + 1) & self._mask
        place = offset % self._size
        self._ids[place], self._prints[place], self._offsets[place] = key, fingerprint, offset
        self._table[slot] = place
        self.end = offset + 1
        self._entered += 1
        if self._entered > self._size:
            self._rebuild()
        return seen

    def _enter(self, offsets: Ints, ids: Hashes, prints: Hashes, last: Ints) -> None:
        places = offsets % self._size
        self._ids[places], self._prints[places], self._offsets[places] = ids, prints, offsets
        self.end = int(offsets[-1]) + 1 if len(offsets) else self.end
        last = last[offsets[last] >= self.end - self._size]
        self._index(ids[last], places[last])
        self._entered += len(last)
        if self._entered > self._size:
            self._rebuild()

    def _find(self, ids: Hashes) -> tuple[Ints, Ints]:
        """The ring place of each id (or -1), and its table slot, or the free slot in its chain."""
        slots = (ids & np.uint64(self._mask)).astype(np.int64)
        places = np.full(len(ids), _EMPTY, np.int64)
        pending = np.arange(len(ids))
        while pending.size:
            at = self._table[slots[pending]]
            hit = (at != _EMPTY) & (self._ids[at] == ids[pending])
            places[pending[hit]] = at[hit]
            pending = pending[(at != _EMPTY) & ~hit]
            slots[pending] = (slots[pending] + 1) & self._mask
        return places, slots

    def _index(self, ids: Hashes, places: Ints) -> None:
        """Points the table to the places of these ids, each of which is there once."""
        found, slots = self._find(ids)
        self._table[slots[found >= 0]] = places[found >= 0]
        pending = np.flatnonzero(found < 0)
        while pending.size:
            at = self._table[slots[pending]]
            # A slot that was left behind may point to where the ring now has an older copy of the
            # same id: passed by, it would be found before the one that is entered now.
            free = (at == _EMPTY) | (self._ids[at] == ids[pending])
            self._table[slots[pending[free]]] = places[pending[free]]
            # Two ids may have taken one free slot: the one that lost goes on along the chain.
            pending = pending[self._table[slots[pending]] != places[pending]]
            slots[pending] = (slots[pending] + 1) & self._mask

    def _rebuild(self) -> None:
        self._table.fill(_EMPTY)
        self._entered = 0
        live = np.flatnonzero(self._offsets >= max(0, self.end - self._size))
        live = live[np.argsort(self._offsets[live])[::-1]]  # the latest of each id first
        _, latest = np.unique(self._ids[live], return_index=True)
        self._index(self._ids[live[latest]], live[latest])


def _compare(prints: Hashes, earlier: Hashes) -> NDArray[np.uint8]:
    return np.where(prints == earlier, Seen.REPEATED, Seen.CONTRADICTED).astype(np.uint8)
