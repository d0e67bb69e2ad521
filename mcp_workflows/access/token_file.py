"""Tokens of a small team, in a file: one line per actor, with the hash of the token and what it allows.

    anna   sha256:9f86d0…  workflows:run workflows:approve   # in the office
    robot  sha256:60303a…  workflows:run:onboard_customer

A token is 256 random bits, so a plain hash keeps it: there is nothing to guess from. The file is read again when it has
changed, so a line that is taken out ends its token at once. While the file cannot be read, nobody is let in by it.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from mcp_workflows.access.principal import RUN, SCOPES, Principal, is_actor, is_scope, with_implied
from mcp_workflows.access.trouble import Trouble
from mcp_workflows.errors import IdentityUnknown, SettingsInvalid

PREFIX: Final = "mcpw_"
"""Begins every such token, so that it is known for what it is where it should not be."""
_HASH = re.compile(r"sha256:[0-9a-f]{64}")
_LARGEST = 1 << 20


def new_token() -> str:
    return PREFIX + secrets.token_urlsafe(32)


def line_for(actor: str, token: str, scopes: tuple[str, ...]) -> str:
    """The line that lets ``token`` in. Raises ``SettingsInvalid`` for what no line can say."""
    if len(actor.split()) != 1:
        raise SettingsInvalid(f'"{actor}" cannot be the name of an actor here: it holds a space, or nothing.')
    line = f"{actor} {hashed(token)} {' '.join(scopes)}".rstrip()
    _parse(line + "\n", "")
    return line


def hashed(token: str) -> str:
    return f"sha256:{hashlib.sha256(token.encode()).hexdigest()}"


class TokenFile:
    """Raises ``SettingsInvalid`` when made of a file that cannot be read or understood."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = self._stamp()
        self._principals: Mapping[str, Principal] = _parse(self._text(), str(path))
        self._trouble = Trouble(f"the file of tokens {path}")

    async def principal(self, token: str) -> Principal | None:
        if not token.startswith(PREFIX):
            return None
        self._refresh()
        if self._trouble.text is not None:
            raise IdentityUnknown(f"The file of tokens cannot be used: {self._trouble.text}")
        return self._principals.get(hashed(token))

    async def close(self) -> None:
        pass

    def _refresh(self) -> None:
        """Read it again if it has changed. A ``stat`` per request costs microseconds."""
        try:
            stamp = self._stamp()
            if stamp == self._seen and self._trouble.text is None:
                return
            self._principals, self._seen = _parse(self._text(), str(self._path)), stamp
            self._trouble.is_over()
        except SettingsInvalid as invalid:
            self._principals = {}
            self._trouble.goes_on(str(invalid))

    def _stamp(self) -> tuple[int, int, int]:
        try:
            status = self._path.stat()
        except OSError as error:
            raise SettingsInvalid(f"{self._path} cannot be read: {error.strerror}.") from None
        return status.st_mtime_ns, status.st_size, status.st_ino

    def _text(self) -> str:
        try:
            with self._path.open(encoding="utf-8") as file:
                return file.read(_LARGEST)
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsInvalid(f"{self._path} cannot be read: {error}.") from None


def _parse(text: str, path: str) -> Mapping[str, Principal]:
    """By hash. Raises ``SettingsInvalid`` with the first line that is wrong, and without the rest of it."""
    found: dict[str, Principal] = {}
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        where = f"{path}:{number}: " if path else ""
        actor, digest, scopes = words[0], words[1] if len(words) > 1 else "", words[2:]
        if not is_actor(actor):
            raise SettingsInvalid(f'{where}"{actor}" cannot be the name of an actor.')
        if not _HASH.fullmatch(digest):
            raise SettingsInvalid(f"{where}after the actor comes sha256: and 64 hexadecimal digits.")
        if wrong := [scope for scope in scopes if not is_scope(scope)]:
            raise SettingsInvalid(f'{where}"{wrong[0]}" is no scope. There are {", ".join(SCOPES)} and {RUN}:NAME.')
        if digest in found:
            raise SettingsInvalid(f"{where}this token stands in an earlier line.")
        found[digest] = Principal(actor, with_implied(scopes))
    return found
