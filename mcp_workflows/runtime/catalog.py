"""The workflows of this node: what its files say now, under which version the store knows them, and what is broken.

A file that changes is a new version; a file that breaks is reported while its last good version goes on serving. Runs are
not affected by either: each is pinned to the content it began with, which ``definition_of`` finds again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from watchfiles import awatch  # pyright: ignore[reportUnknownVariableType]  # one default of its is untyped

from mcp_workflows.definition.loader import Loaded, load_paths, load_text
from mcp_workflows.definition.program import Definition
from mcp_workflows.errors import Problem, UnknownWorkflow
from mcp_workflows.store import Store

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Served:
    """A definition as the store knows it."""

    definition: Definition
    definition_id: int
    version: int


class Catalog:
    """Loads, watches and numbers definitions. Read it freely; it changes between two awaits only."""

    def __init__(self, paths: Sequence[Path], store: Store) -> None:
        self._paths = tuple(paths)
        self._store = store
        self._served: dict[str, Served] = {}
        self._known: dict[int, Definition] = {}
        self._listeners: list[Callable[[], None]] = []
        self.problems: tuple[Problem, ...] = ()
        self.warnings: tuple[Problem, ...] = ()

    @property
    def definitions(self) -> Mapping[str, Definition]:
        """By name, in the order of names."""
        return MappingProxyType({name: self._served[name].definition for name in sorted(self._served)})

    def serving(self, workflow: str) -> Served:
        """Raises ``UnknownWorkflow``."""
        try:
            return self._served[workflow]
        except KeyError:
            raise UnknownWorkflow(f'No workflow "{workflow}" is served here.') from None

    def version_of(self, workflow: str) -> int:
        return self.serving(workflow).version

    def broken_behind(self, workflow: str) -> Problem | None:
        """What is wrong with the file of a workflow whose last good version is served."""
        served = self._served.get(workflow)
        return served and next((one for one in self.problems if one.file == served.definition.source), None)

    def on_change(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call ``listener`` whenever the served workflows or the problems changed, until the answer is called."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    async def load(self) -> None:
        """Read all files; take what is good, keep the last good version of what is not."""
        loaded = await asyncio.to_thread(load_paths, self._paths, dict(self.definitions))
        served = {name: await self._serve(definition) for name, definition in loaded.definitions.items()}
        broken = {problem.file for problem in loaded.problems}
        for name, last in self._served.items():
            if name not in served and last.definition.source in broken:
                served[name] = last
        changed = served != self._served or loaded.problems != self.problems
        self._served, self.problems, self.warnings = served, loaded.problems, loaded.warnings
        if changed:
            _report(loaded)
            for listener in list(self._listeners):
                listener()

    async def watch(self) -> None:
        """Load again whenever a file changes, until cancelled."""
        async for _changes in self._changes():
            try:
                await self.load()
            except Exception:  # the files may be in any state; what is served stays as it is
                logger.exception("the definitions could not be loaded again")

    async def definition_of(self, definition_id: int) -> Definition:
        """The exact content that a run is pinned to. Raises ``DefinitionInvalid`` if this version cannot read it."""
        definition = self._known.get(definition_id)
        if definition is None:
            name, version, content = await self._store.load_definition(definition_id)
            definition = await asyncio.to_thread(load_text, content, f"{name} version {version}")
            self._known[definition_id] = definition
        return definition

    async def _serve(self, definition: Definition) -> Served:
        before = self._served.get(definition.name)
        if before is not None and before.definition.digest == definition.digest:
            return before if _same_to_callers(before.definition, definition) else replace(before, definition=definition)
        definition_id, version = await self._store.define(definition)
        self._known[definition_id] = definition
        return Served(definition, definition_id, version)

    async def _changes(self) -> AsyncIterator[object]:
        """Changes below the paths; a path that does not exist yet is watched by way of its parent."""
        roots = {path if path.exists() else path.parent for path in self._paths}
        existing = [root for root in roots if root.exists()]
        if existing:
            async for changes in awatch(*existing, debounce=200, step=50):
                yield changes


def _same_to_callers(one: Definition, other: Definition) -> bool:
    """A child that changed may change what a call of the unchanged parent does."""
    return (one.asks_person, one.destructive) == (other.asks_person, other.destructive)


def _report(loaded: Loaded) -> None:
    for problem in loaded.problems:
        logger.error("%s", problem)
    for warning in loaded.warnings:
        logger.warning("%s", warning)
