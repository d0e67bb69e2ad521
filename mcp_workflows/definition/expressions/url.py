"""A URL put together from what its author wrote and what is inserted."""

from __future__ import annotations

import re
from urllib.parse import quote

from mcp_workflows.definition.expressions.failures import ExpressionFailed

_AUTHORITY = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*")
_SEGMENT_END = re.compile(r"[/?#]")
_UNRESERVED = re.compile(r"[A-Za-z0-9._~-]*")
_HOST = re.compile(r"[A-Za-z0-9.\-_:\[\]]*")


class Url:
    """Grows from left to right. Where the host ends decides how a piece is inserted.

    The first piece may be a whole URL (``${vars.CRM_URL}``). In the host only a host's characters are let in; after it a piece
    is percent-encoded. A path segment must not become empty: ``DELETE /accounts/`` is not ``DELETE /accounts/7``.
    """

    __slots__ = ("_base", "_inserted", "_past_host", "_text")

    def __init__(self) -> None:
        self._text = ""
        self._base = ""
        # The source of an expression in the segment that is being written, until it is known to be sound.
        self._inserted = ""
        self._past_host = False

    def add(self, literal: str) -> None:
        """What the author wrote, as it is."""
        if self._inserted and (end := _SEGMENT_END.search(literal)):
            self._text += literal[: end.start()]
            self._end_segment()
            literal = literal[end.start() :]
        if self._base and self._text == self._base and literal.startswith("/"):
            self._text = self._base.rstrip("/")  # a setting "http://crm/" and a path "/accounts" meet at one slash
        self._text += literal

    def insert(self, piece: str, source: str) -> None:
        """What the expression ``source`` gave."""
        if not self._text:
            self._text = self._base = piece
            return
        if not self._past_host:
            authority = _AUTHORITY.match(self._text)
            if authority is None or authority.end() == len(self._text):
                if authority is not None and not _HOST.fullmatch(piece):
                    raise ExpressionFailed("a character that a host cannot have", source)
                self._text += piece
                return
            self._past_host = True
        try:
            self._text += piece if _UNRESERVED.fullmatch(piece) else quote(piece, safe="")
        except UnicodeEncodeError:
            raise ExpressionFailed("broken Unicode cannot be part of a URL", source) from None
        self._inserted = source

    def finish(self) -> str:
        """The whole text."""
        self._end_segment()
        return self._text

    def _end_segment(self) -> None:
        source, self._inserted = self._inserted, ""
        if not source or "?" in self._text or "#" in self._text:
            return
        if self._text.endswith("/"):
            raise ExpressionFailed("the path would have an empty segment, which names another resource", source)
