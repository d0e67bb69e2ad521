"""From a token to the principal it names, whatever kind of token it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from mcp_workflows.access.principal import Principal
from mcp_workflows.errors import IdentityUnknown


class Verifier(Protocol):
    """One kind of token."""

    async def principal(self, token: str) -> Principal | None:
        """``None``: the token is not valid. Raises ``IdentityUnknown`` where that cannot be found out now."""
        ...

    async def close(self) -> None: ...


class AnyOf:
    """Takes what one of several takes. That one of them cannot tell is only said when no other takes the token."""

    def __init__(self, verifiers: Sequence[Verifier]) -> None:
        self._verifiers = tuple(verifiers)

    async def principal(self, token: str) -> Principal | None:
        unknown: Exception | None = None
        for verifier in self._verifiers:
            try:
                found = await verifier.principal(token)
            except IdentityUnknown as error:
                unknown = error
            else:
                if found is not None:
                    return found
        if unknown is not None:
            raise unknown
        return None

    async def close(self) -> None:
        for verifier in self._verifiers:
            await verifier.close()
