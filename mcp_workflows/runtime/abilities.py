"""What this node can move and what it leaves to others, for want of a secret, a function or the like; and telling people so."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from mcp_workflows.definition.program import Definition, Json
from mcp_workflows.engine.records import Run
from mcp_workflows.errors import SettingsInvalid
from mcp_workflows.runtime.catalog import Catalog
from mcp_workflows.store import NodeReport, Store, Unable

LOOK_AGAIN = 10.0
"""Seconds after which what a served definition lacks is looked for again, to be told: files with secrets come and go."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much this node does at the same time: runs that it moves, attempts in flight, and those to one host and port."""

    runs: int = 2000
    attempts: int = 256
    attempts_per_host: int = 100


class Abilities:
    """``vars_of`` gives what ``vars`` are in a definition on this node; ``lacks_secrets`` says which of a definition's secrets
    have no value on this node, ``lacks`` what else it needs and is not here, and ``lacks_address`` what in it waits for a call
    where nobody can call, ``lacks_address_to_undo`` whether what undoes it does. ``report``: what this node says beside that.
    """

    def __init__(
        self, report: NodeReport, *, vars_of: Callable[[Definition], Mapping[str, Json]],
        lacks_secrets: Callable[[Definition], Collection[str]], lacks: Callable[[Definition], Sequence[str]] = lambda _: (),
        lacks_address: Callable[[Definition], str | None] = lambda _: None,
        lacks_address_to_undo: Callable[[Definition], bool] = lambda _: False,
    ) -> None:  # fmt: skip
        self.vars_of = vars_of
        self._lacks_secrets = lacks_secrets
        self._lacks = lacks
        self._lacks_address = lacks_address
        self._lacks_address_to_undo = lacks_address_to_undo
        self._report = report
        self._left: dict[int, tuple[Definition | None, Unable]] = {}
        self._told: NodeReport | None = None
        self._looked = -LOOK_AGAIN

    def check(self, definition: Definition) -> None:
        """Raises ``SettingsInvalid`` when this node was not given what the definition needs: a secret, a fitting value for a
        variable, a function, a server. That nobody can call it is no reason to start no run: another node may be called."""
        self.vars_of(definition)
        lacking = self._lacks_secrets(definition)
        if lacking:
            names = ", ".join(f"MCP_WORKFLOWS_SECRET_{name}" for name in lacking)
            raise SettingsInvalid(f"this server has no value for the secrets of {definition.name}: set {names}")
        lacking = self._lacks(definition)
        if lacking:
            raise SettingsInvalid("; ".join(lacking))

    @property
    def cannot(self) -> frozenset[int]:
        """Ids of definitions whose runs are left to others."""
        return frozenset(self._left)

    def can_end(self, definition_id: int, *, begun: bool) -> bool:
        """Whether runs that are left to others can be ended here all the same: this node can undo what is to be undone.

        ``begun``: the run has done something.
        """
        definition, _ = self._left.get(definition_id, (None, None))
        if definition is None:
            return False
        try:
            self.check(definition) if begun else self.vars_of(definition)
        except SettingsInvalid:
            return False
        return not begun or not self._lacks_address_to_undo(definition)

    def leave(self, run: Run, definition: Definition | None, why: str) -> None:
        """Claim no more runs of this definition; ``None``: it is not to be looked at again."""
        self._left[run.definition_id] = (definition, Unable(run.workflow, run.version, why))
        self._looked = -LOOK_AGAIN

    def look_again(self) -> None:
        """A secret may have been put where it is looked for since its runs were left to others."""
        for definition_id, (definition, _) in list(self._left.items()):
            if definition is not None and self.why_not(definition) is None:
                del self._left[definition_id]
                self._looked = -LOOK_AGAIN

    async def tell(self, store: Store, catalog: Catalog) -> None:
        """Puts into the database what ``nodes`` shows of this node, where it has changed. Raises as the store does."""
        if self._told is not None and time.monotonic() - self._looked < LOOK_AGAIN:
            return
        cannot = {unable[:2]: unable for _, unable in self._left.values()} | self._of_served(catalog)
        report = replace(self._report, cannot=tuple(sorted(cannot.values())))
        if self._told != report:
            await store.report(report)
            self._told = report
        self._looked = time.monotonic()

    def _of_served(self, catalog: Catalog) -> dict[tuple[str, int], Unable]:
        cannot: dict[tuple[str, int], Unable] = {}
        for name, definition in catalog.definitions.items():
            why = self.why_not(definition)
            if why is not None:
                version = catalog.version_of(name)
                cannot[name, version] = Unable(name, version, why)
        return cannot

    def why_not(self, definition: Definition) -> str | None:
        """What keeps this node from moving the definition's runs; ``None``: nothing does."""
        try:
            self.check(definition)
        except SettingsInvalid as unable:
            return str(unable)
        return self._lacks_address(definition)
