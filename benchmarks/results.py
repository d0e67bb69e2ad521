"""What one run of ``make bench`` found, as it is kept in ``docs/performance.json``."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Figure = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Results:
    """``found`` by section, as its command tells it; ``failed`` says why a section has nothing."""

    machine: Mapping[str, str]
    found: Mapping[str, Any]
    failed: Mapping[str, str]

    @classmethod
    def load(cls, path: Path) -> Results:
        return cls(**json.loads(path.read_text("utf-8")))

    def save(self, path: Path) -> None:
        path.parent.mkdir(exist_ok=True)
        kept = {"machine": self.machine, "found": self.found, "failed": self.failed}
        path.write_text(json.dumps(_rounded(kept), indent=1) + "\n", "utf-8")

    def one(self, section: str, **which: object) -> Figure | None:
        """The only figure of the section that has these values."""
        for figure in self.found.get(section, ()):
            if all(figure[name] == value for name, value in which.items()):
                return figure
        return None

    def steps(self, section: str, kind: str, concurrency: int) -> float | None:
        figure = self.one(section, kind=kind, concurrency=concurrency)
        return None if figure is None else figure["steps_per_second"]

    def peer(self, section: str, concurrency: int, *, http: bool) -> float | None:
        """Steps per second of a peer; without I/O of that form of its which is fastest."""
        kinds = ("http",) if http else ("threads", "async", "compute")
        rates = [rate for kind in kinds if (rate := self.steps(section, kind, concurrency)) is not None]
        return max(rates, default=None)

    def client(self, name: str, concurrency: int) -> float | None:
        """Requests per second of a bare HTTP client."""
        clients = self.found.get("clients")
        return None if clients is None else clients["requests_per_second"][name][str(concurrency)]


def middle(rounds: Sequence[Any]) -> Any:
    """Of what rounds of one section have found, the median of each figure."""
    first = rounds[0]
    if isinstance(first, dict):
        return {key: middle([each[key] for each in rounds]) for key in first}  # pyright: ignore[reportUnknownVariableType]
    if isinstance(first, list):
        return [middle(each) for each in zip(*rounds, strict=True)]
    return statistics.median(rounds) if isinstance(first, (int, float)) else first


def _rounded(value: Any) -> Any:
    """Four digits are more than such a figure has."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {str(key): _rounded(one) for key, one in value.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    if isinstance(value, (list, tuple)):
        return [_rounded(one) for one in value]  # pyright: ignore[reportUnknownVariableType]
    return value
