"""What a client of a live report holds: its figures in their order, by what it was told."""

from collections.abc import Mapping
from typing import Any


class Held:
    """The figures of one subscription."""

    def __init__(self) -> None:
        self.figures: dict[str, Any] = {}
        self.revision = ""

    def take(self, message: Mapping[str, Any]) -> None:
        """Does what the documentation of `app.live.answers` says of a snapshot or a delta."""
        if message["type"] == "snapshot":
            self.figures = {}
        for name in message.get("gone", ()):
            del self.figures[name]
        for figure in message["figures"]:
            self.figures[figure["id"]] = figure["value"]
        if "order" in message:
            assert sorted(message["order"]) == sorted(self.figures)
            self.figures = {name: self.figures[name] for name in message["order"]}
        self.revision = message["revision"]

    @property
    def rows(self) -> list[Any]:
        return list(self.figures.values())
