"""Where what came to pass lies in what was foretold, and what is made of that.

If forecasts are honest, outcomes lie evenly over their distributions: a tenth of them in each
tenth. Where they do not, a distribution to come is bent by what was seen, which makes it a
conformal one (Vovk et al. 2017, online and pooled). A whole number has no single place in its
distribution but a stretch of it, over which it counts evenly (Czado et al. 2009).
"""

from typing import Any

import numpy as np

from ml_online import arrays
from ml_online.daily import Array, IntArray

_PARTS = 20
_PRIOR = 50.0  # outcomes that lie evenly, as if they had been seen
_VOLUMES = (3.0, 30.0)  # units: what sells little is another thing than what sells much
_EDGES = np.linspace(0.0, 1.0, _PARTS + 1)


class Placing:
    """By `kind` of forecast, a number, and by volume: how many outcomes lay in which part."""

    def __init__(self, kinds: int, fade: float) -> None:
        self._seen = np.zeros((kinds, len(_VOLUMES) + 1, _PARTS))
        self._fade = fade

    def fade(self) -> None:
        """A day has passed."""
        self._seen *= self._fade

    def hear(self, kind: int, mean: Array, below: Array, upto: Array, weight: float) -> None:
        """Outcomes that lay from `below` to `upto` in distributions with these means."""
        width = np.maximum(upto - below, 1e-12)[:, None]
        shares = np.diff(np.clip(_EDGES, below[:, None], upto[:, None]), axis=1) / width
        of_volume = _volume(mean)
        for volume in range(len(_VOLUMES) + 1):
            self._seen[kind, volume] += weight * shares[of_volume == volume].sum(axis=0)

    def corrected(self, weights: Array, mean: Array, chance: Array) -> Array:
        """Chances that something is exceeded, in the light of what was seen. `weights` say how much
        each kind counts."""
        bent = self._bent(weights)
        found: Array = np.array(chance, dtype=float)
        of_volume = _volume(mean)
        for volume, places in enumerate(bent):
            here = (of_volume == volume) & ~np.isnan(found)
            found[here] = 1.0 - np.interp(1.0 - found[here], _EDGES, places)
        return np.asarray(np.clip(found, 0.0, 1.0))

    def level(self, weights: Array, mean: Array, level: float) -> Array:
        """Where in its own distribution a forecast has what is not exceeded with probability
        `level`."""
        bent = np.array([np.interp(level, places, _EDGES) for places in self._bent(weights)])
        return np.asarray(bent[_volume(mean)])

    def _bent(self, weights: Array) -> Array:
        """By volume, the share of outcomes up to each edge: strictly rising."""
        seen = np.tensordot(weights, self._seen, axes=1)
        every = seen.sum(axis=0) + 4 * _PRIOR / _PARTS
        shares = seen + _PRIOR * every / every.sum()
        rising = np.cumsum(shares / shares.sum(axis=1, keepdims=True), axis=1)
        return np.asarray(np.hstack([np.zeros((len(rising), 1)), rising]))

    def state(self) -> list[Any]:
        return arrays.dump(self._seen)

    def restore(self, state: list[Any]) -> None:
        self._seen = arrays.load(state)


def _volume(mean: Array) -> IntArray:
    return np.digitize(mean, _VOLUMES).astype(np.int64)
