"""The log of every call that reached a sample service: who was asked what, under which key, and how it ended."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

from mcp_workflows.samples.service import Ask


@dataclass(frozen=True, slots=True)
class Call:
    """One call. ``status`` is absent while it is in flight and of one that got no answer."""

    number: int
    service: str
    method: str
    path: str
    key: str | None
    body: Any
    fault: str | None = None
    """What was made to go wrong, in words."""
    open: bool = True
    status: int | None = None
    replayed: bool = False
    effect: bool = False
    """The books were changed by this very call."""

    @property
    def what(self) -> str:
        return f"{self.service} {self.method} {self.path}"

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        return cls(**data)


class CallLog:
    """Calls in the order in which they came. ``version`` grows with every change, so that a reader can wait for one."""

    def __init__(self) -> None:
        self.version = 0
        self._calls: list[Call] = []
        self._changed = asyncio.Event()

    def begin(self, service: str, ask: Ask, fault: str | None) -> int:
        """The number of the call, by which it is ``update``d."""
        number = len(self._calls)
        self._calls.append(Call(number, service, ask.method, ask.path, ask.key, dict(ask.body), fault))
        self._tell()
        return number

    def update(self, number: int, **changes: Any) -> None:
        self._calls[number] = replace(self._calls[number], **changes)
        self._tell()

    def to_json(self) -> dict[str, Any]:
        return {"version": self.version, "calls": [asdict(call) for call in self._calls]}

    async def wait(self, version: int, seconds: float) -> None:
        """Until the log is newer than ``version``, or ``seconds`` passed."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self.version <= version:
                    await self._changed.wait()

    def _tell(self) -> None:
        self.version += 1
        self._changed.set()
        self._changed = asyncio.Event()


def by_key(calls: Sequence[Call]) -> dict[tuple[str, str | None], list[Call]]:
    """The calls by what was called and under which key, in order of the first."""
    grouped: dict[tuple[str, str | None], list[Call]] = {}
    for call in calls:
        grouped.setdefault((call.what, call.key), []).append(call)
    return grouped
