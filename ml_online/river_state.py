"""The state of a River model as plain values, so that no snapshot holds code, as a pickle would."""

from typing import Any, Literal, TypeVar

import numpy as np

Model = TypeVar("Model")

_ARRAY = "array"


def dump(model: object) -> dict[str, Any]:
    """A model's attributes. Raises TypeError on one that is no number, text, array or dict."""
    return {name: _plain(value) for name, value in vars(model).items()}


def load(model: Model, state: dict[str, Any]) -> Model:
    """The same model again, in an instance of its class."""
    vars(model).update({name: _rich(value) for name, value in state.items()})
    return model


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray) and value.dtype == np.float64:
        # How it lies in memory decides in which order its sums are taken.
        order: Literal["C", "F"] = "C" if value.flags.c_contiguous else "F"
        return [_ARRAY, order, list(value.shape), value.tobytes(order).hex()]
    raise TypeError(f"no plain form of {type(value).__name__}")


def _rich(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rich(item) for key, item in value.items()}
    if isinstance(value, list | tuple) and value[0] == _ARRAY:
        _, order, shape, data = value
        return np.frombuffer(bytes.fromhex(data)).reshape(shape, order=order).copy(order=order)
    return value
