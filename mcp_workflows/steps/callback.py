"""Tokens for ``${callback_url}``: which attempt of which step of which run a call from outside answers.

A token says so itself and is signed with a key that all nodes of a database share. So it is valid before the request that
carries it is sent, every node can check it, and nothing is looked up for a forged one. Whoever has it can end that step,
so it is kept out of records like a secret.
"""

from __future__ import annotations

import base64
import hmac
import json
from dataclasses import dataclass
from typing import Any, cast

PATH = "/callbacks/"
SHOWN_AS = "callback_token"
"""The name that stands for a token where it is redacted."""
_LONGEST = 8192
_PURPOSE = b"mcp-workflows callback 1\0"
"""The database's key may sign other things as well."""


@dataclass(frozen=True, slots=True)
class Meant:
    """The attempt that a token was made for."""

    run_id: str
    path: str
    attempt: int


class CallbackTokens:
    """Makes and reads tokens."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def make(self, run_id: str, path: str, attempt: int) -> str:
        payload = json.dumps([run_id, path, attempt], separators=(",", ":")).encode("ascii")
        signature = hmac.digest(self._key, _PURPOSE + payload, "sha256")
        return f"{_text(payload)}.{_text(signature)}"

    def read(self, token: str) -> Meant | None:
        """``None``: it was not made with this key. A genuine one has exactly one spelling."""
        if len(token) > _LONGEST or not token.isascii():
            return None
        try:
            fields = json.loads(_bytes(token.partition(".")[0]))
        except (ValueError, RecursionError):
            return None
        if not isinstance(fields, list) or [type(field) for field in cast("list[Any]", fields)] != [str, str, int]:
            return None
        meant = Meant(*cast("tuple[str, str, int]", fields))
        genuine = self.make(meant.run_id, meant.path, meant.attempt)
        return meant if hmac.compare_digest(token, genuine) else None


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def _bytes(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
