"""Whom a token names, and what it allows. One list of scopes for every kind of token."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

READ: Final = "workflows:read"
"""To look at one's own runs."""
RUN: Final = "workflows:run"
"""To start every workflow, and to answer, resume and cancel one's own runs. ``workflows:run:NAME``: to start that one."""
APPROVE: Final = "workflows:approve"
"""To decide as a person, on the page that a link leads to. Not for agents."""
OPERATE: Final = "workflows:operate"
"""To do with everybody's runs what ``workflows:run`` allows with one's own."""

SCOPES: Final = (READ, RUN, APPROVE, OPERATE)

_IMPLIED: Final = {OPERATE: (RUN, READ), RUN: (READ,), APPROVE: ()}
_LONGEST_ACTOR = 200
_RESERVED = frozenset({"local", "callback", "timeout"})
_RESERVED_BEGINNINGS = ("cli:", "web:")


@dataclass(frozen=True, slots=True)
class Principal:
    """The actor that a valid token names. ``scopes`` hold what they imply; ``expires_at``: until when it is valid."""

    actor: str
    scopes: frozenset[str]
    expires_at: datetime | None = None

    def holds(self, scope: str) -> bool:
        """``scope``, or what it allows with one workflow."""
        return any(held == scope or held.startswith(f"{scope}:") for held in self.scopes)

    def may_start(self, workflow: str) -> bool:
        return not self.scopes.isdisjoint({RUN, f"{RUN}:{workflow}"})


def is_scope(text: str) -> bool:
    """One of ours."""
    return text in SCOPES or (text.startswith(f"{RUN}:") and len(text) > len(RUN) + 1)


def with_implied(scopes: Iterable[str]) -> frozenset[str]:
    """Those of ``scopes`` that are ours, and what they imply."""
    own = {scope for scope in scopes if is_scope(scope)}
    implied = {one for scope in own for one in _IMPLIED.get(scope, (READ,) if scope != READ else ())}
    return frozenset(own | implied)


def is_actor(name: object) -> bool:
    """Fit to be recorded as who asked, and not mistakable for somebody who did not have to authenticate."""
    return (
        isinstance(name, str)
        and 0 < len(name) <= _LONGEST_ACTOR
        and name.isprintable()
        and name == name.strip()
        and name not in _RESERVED
        and not name.startswith(_RESERVED_BEGINNINGS)
    )
