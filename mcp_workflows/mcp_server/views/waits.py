"""What a run waits for from outside, as a model gets it, and how a person answers: on a page, or by a command."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace

from mcp_workflows.access.links import PURPOSE, Links
from mcp_workflows.asking.waiting import Waiting
from mcp_workflows.definition.program import Json
from mcp_workflows.mcp_server.views.shape import shape_of, size_of
from mcp_workflows.mcp_server.views.wording import cut, instant
from mcp_workflows.runtime.runs import Runs
from mcp_workflows.runtime.views import RunView

_SHOWN = 5
_LONGEST_MESSAGE = 1000
_LARGEST_SCHEMA = 4 * 1024


@dataclass(frozen=True, slots=True)
class Ways:
    """How a person can answer: on the page that ``links`` lead to, while one is served, or else at the terminal.

    ``database`` is where runs are kept, as a command for them must say. ``ends_with_client``: as this server does, and no other
    is known to be up that would take its runs on.
    """

    database: str | None = None
    links: Links | None = None
    ends_with_client: bool = False

    def way(self, run_id: str, name: str, wait: str) -> tuple[str, str]:
        """``url`` or ``command``, and which one. ``wait`` is the wait's key."""
        if self.links is not None:
            return "url", self.links.url(run_id, wait)
        return "command", signal_command(run_id, name, self.database)

    def now(self, runs: Runs) -> Ways:
        """A server that serves no page, as on stdio, sends people to that of another one, while such a one is up."""
        address = runs.served_beside
        if self.links is not None or address is None:
            return self
        return replace(self, links=Links(runs.key(PURPOSE), address), ends_with_client=False)

    def page(self, runs: Runs) -> Links | None:
        """Where people answer, while such a page is served."""
        return self.now(runs).links


NOT_HERE = Ways()
"""At the terminal, of the default database."""


def waits_object(view: RunView, ways: Ways) -> dict[str, Json]:
    """``waiting_for``, and ``waiting_for_omitted`` where it is only the first of many.

    Several waits for the same signal are one here: a signal is taken by the first of them.
    """
    different: dict[tuple[str, str], Waiting] = {}
    for wait in view.waiting_for:
        different.setdefault((wait.kind, wait.name), wait)
    waits = list(different.values())
    told: dict[str, Json] = {"waiting_for": [_told(wait, view.run_id, ways) for wait in waits[:_SHOWN]]}
    if len(waits) > _SHOWN:
        told["waiting_for_omitted"] = len(waits) - _SHOWN
    return told


def signal_command(run_id: str, name: str, database: str | None) -> str:
    """What a person types to answer, in any folder of the machine."""
    words = ["mcp-workflows", "signal", run_id, name, *(["--database", database] if database else [])]
    return shlex.join(words)


def _told(wait: Waiting, run_id: str, ways: Ways) -> dict[str, Json]:
    told: dict[str, Json] = {"kind": wait.kind, "name": wait.name}
    if wait.message is not None:
        told["message"] = cut(wait.message, _LONGEST_MESSAGE)
    told["by"] = wait.by
    if wait.approvers is not None:
        told["approvers"] = list(wait.approvers[:_SHOWN])
    if wait.schema is not None:
        told["schema"] = _bounded(dict(wait.schema))
    if wait.expires_at is not None:
        told["expires_at"] = instant(wait.expires_at)
    if wait.by == "person":
        kind, way = ways.way(run_id, wait.name, wait.key)
        told[kind] = way
    return told


def _bounded(schema: Json) -> Json:
    return schema if size_of(schema) <= _LARGEST_SCHEMA else f"left out: {size_of(schema)} bytes, {shape_of(schema)}"
