"""One attempt under way: what is known of it at any moment, so that whatever ends it can be described honestly."""

from __future__ import annotations

from collections.abc import Awaitable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Protocol

from mcp_workflows.definition.program import Json
from mcp_workflows.engine.outcome import Failed, Outcome, StepCall, StepError
from mcp_workflows.steps.deadline import Deadline
from mcp_workflows.steps.redact import NOTHING, Redactor

NO_SECRETS: Mapping[str, str] = MappingProxyType({})
SHOWN = 500
"""Characters of a message, and of every text in a shown request."""


class Values(Mapping[str, Any]):
    """The values of a call, with ``secrets`` as they are now. Looked up, never listed."""

    def __init__(self, values: Mapping[str, Json], now: Mapping[str, Json]) -> None:
        self._values = values
        self._now = now

    def __getitem__(self, root: str) -> Json:
        return self._now[root] if root in self._now else self._values[root]

    def __contains__(self, root: object) -> bool:
        return root in self._now or root in self._values

    def __iter__(self) -> Iterator[str]:
        raise TypeError("values are looked up, not listed")

    def __len__(self) -> int:
        raise TypeError("values are looked up, not listed")


@dataclass(slots=True)
class Attempt:
    """Kept up to date by the doer of the work.

    ``in_doubt`` is what a failure at this moment would be. It begins true, so that a kind which forgets to say is
    never taken for harmless; a doer clears it as long as nothing has left this process.
    """

    call: StepCall
    values: Mapping[str, Json]
    """All that the work's expressions name."""
    secrets: Mapping[str, str] = field(default_factory=lambda: NO_SECRETS)
    """The declared ones that have a value here."""
    redactor: Redactor = NOTHING
    missing: tuple[str, ...] = ()
    """Declared secrets that have no value here."""
    deadline: Deadline | None = None
    in_doubt: bool = True
    label: str = "the attempt"
    """How messages name the work: ``POST /charges``."""
    request: Json = None
    """What is being asked, not yet redacted."""

    def failed(
        self,
        code: str,
        message: str,
        *,
        in_doubt: bool | None = None,
        retryable: bool = False,
        status: int | None = None,
        body: Json = None,
        details: Json = None,
        retry_after: float | None = None,
    ) -> Failed:
        """The outcome, everything in it redacted first and then cut: a cut secret would not be recognised."""
        redactor = self.redactor
        return Failed(
            StepError(
                code=code,
                message=cut(redactor.text(message)),
                in_doubt=self.in_doubt if in_doubt is None else in_doubt,
                retryable=retryable,
                status=status,
                body=redactor.json(body),
                details=redactor.json(details),
                request=cut_all(redactor.json(self.request)),
                retry_after=retry_after,
            )
        )


class Doer(Protocol):
    """Does one kind of work. May raise anything; ``Steps`` turns it into a failure."""

    def attempt(self, attempt: Attempt) -> Awaitable[Outcome]: ...

    async def close(self) -> None: ...


def cut(text: str, limit: int = SHOWN) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def cut_all(value: Json, budget: int = 4 * SHOWN) -> Json:
    """A value small enough to be shown: long texts are cut, and after ``budget`` characters only ``…`` follows."""
    return _Cutter(budget).cut(value, 0)


class _Cutter:
    def __init__(self, budget: int) -> None:
        self._left = budget

    def cut(self, value: Json, depth: int) -> Json:
        if self._left <= 0 or depth > 16:
            return "…"
        if isinstance(value, str):
            shown = cut(value)
            self._left -= len(shown) + 2
            return shown
        if isinstance(value, dict):
            return self._mapping(value, depth)  # pyright: ignore[reportUnknownArgumentType]
        if isinstance(value, list):
            return self._list(value, depth)  # pyright: ignore[reportUnknownArgumentType]
        self._left -= 8
        return value

    def _mapping(self, value: dict[str, Json], depth: int) -> Json:
        shown: dict[str, Json] = {}
        for key, item in value.items():
            if self._left <= 0:
                shown["…"] = f"{len(value) - len(shown)} more"
                break
            self._left -= len(key)
            shown[cut(key)] = self.cut(item, depth + 1)
        return shown

    def _list(self, value: list[Json], depth: int) -> Json:
        shown: list[Json] = []
        for item in value:
            if self._left <= 0:
                shown.append(f"… {len(value) - len(shown)} more")
                break
            shown.append(self.cut(item, depth + 1))
        return shown
