"""What of the resources can be listened to: a workflow, a run, and a run's result."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from mcp_workflows.definition.program import Definition
from mcp_workflows.engine.states import RunStatus
from mcp_workflows.errors import CallerError, SystemUnwell, UnknownWorkflow
from mcp_workflows.mcp_server.subscriptions.listener import Notice, Stop, Tell
from mcp_workflows.runtime.catalog import Catalog
from mcp_workflows.runtime.runs import Runs


def updated(uri: str) -> Notice:
    """By the URI that the client asked for."""
    return Notice("notifications/resources/updated", {"uri": uri})


class WorkflowSubject:
    """Told of when its file says something else, also that it is gone."""

    def __init__(self, uri: str, name: str, catalog: Catalog, shown: Callable[[], Mapping[str, Definition]]) -> None:
        self._uri, self._name = uri, name
        self._catalog = catalog
        self._shown = shown

    async def follow(self, tell: Tell) -> Stop:
        if self._name not in self._shown():
            raise UnknownWorkflow(self._name)
        last = self._digest()

        def compare() -> None:
            nonlocal last
            if (now := self._digest()) != last:
                last = now
                tell()

        return self._catalog.on_change(compare)

    async def notice(self) -> Notice | None:
        return updated(self._uri)

    def _digest(self) -> str | None:
        definition = self._shown().get(self._name)
        return None if definition is None else definition.digest


class RunSubject:
    """Told of whenever something was recorded of the run."""

    def __init__(self, uri: str, run_id: str, runs: Runs, actor: str | None) -> None:
        self._uri, self._run_id = uri, run_id
        self._runs, self._actor = runs, actor

    async def follow(self, tell: Tell) -> Stop:
        return await self._runs.follow(self._run_id, tell, actor=self._actor)

    async def notice(self) -> Notice | None:
        return updated(self._uri)


class ResultSubject(RunSubject):
    """Told of when the run has completed: before that there is no result."""

    async def notice(self) -> Notice | None:
        try:
            view = await self._runs.get(self._run_id, actor=self._actor)
        except (CallerError, SystemUnwell):
            return None
        return updated(self._uri) if view.status is RunStatus.COMPLETED else None
