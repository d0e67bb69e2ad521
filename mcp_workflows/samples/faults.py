"""How a call is to fail: an agreed list, taken in order, so that nothing about a failure is left to chance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any, Literal

from mcp_workflows.samples.service import Ask

Kind = Literal["answer", "drop", "slow", "hold"]


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to the next ``times`` calls that fit (``None``: to all of them).

    ``answer`` answers with ``status`` and nothing is done; ``drop`` cuts the connection; ``slow`` waits ``seconds``
    first; ``hold`` gives no answer until the faults are lifted. ``done``: the service does its work all the same, so
    the caller cannot know it.
    """

    service: str
    method: str
    path: str
    """May hold ``*``."""
    kind: Kind
    times: int | None = 1
    status: int = 503
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: Any = None
    seconds: float = 0.0
    done: bool = False
    contains: str = ""
    """Only calls in whose body this text occurs."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def fits(self, service: str, ask: Ask) -> bool:
        return (
            self.service == service
            and self.method == ask.method
            and fnmatchcase(ask.path, self.path)
            and self.contains in str(dict(ask.body))
        )


class Faults:
    """The faults that are still to happen."""

    def __init__(self) -> None:
        self._waiting: list[Fault] = []

    def add(self, fault: Fault) -> None:
        self._waiting.append(fault)

    def clear(self) -> None:
        self._waiting.clear()

    def take(self, service: str, ask: Ask) -> Fault | None:
        """The first fault that fits, used up by one."""
        for place, fault in enumerate(self._waiting):
            if fault.fits(service, ask):
                if fault.times == 1:
                    del self._waiting[place]
                elif fault.times is not None:
                    self._waiting[place] = replace(fault, times=fault.times - 1)
                return fault
        return None
