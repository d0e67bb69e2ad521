"""Who a person showed to be: the token they entered, sealed into a cookie that only this database's servers can open.

The token is looked at again with every request, so taking it back ends the session, and no server has to remember anything.
"""

from __future__ import annotations

import base64
import hmac
import json
import os
from datetime import datetime, timedelta
from typing import Final, cast

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

COOKIE: Final = "mcp_workflows_person"
GOOD_FOR: Final = timedelta(hours=8)
PURPOSE: Final = b"session of a person 1"
"""What the key of ``Sessions`` is for."""
_NONCE_BYTES: Final = 12
_LONGEST_COOKIE: Final = 4000
"""Browsers take no longer ones."""


class Sessions:
    """``key`` is one of 32 bytes that all nodes of the database have."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)
        self._form_key = hmac.digest(key, b"form", "sha256")

    def seal(self, token: str, now: datetime) -> str | None:
        """What the cookie holds; ``None``: the token is too long for one."""
        nonce = os.urandom(_NONCE_BYTES)
        plain = json.dumps([token, (now + GOOD_FOR).timestamp()]).encode()
        sealed = base64.urlsafe_b64encode(nonce + self._cipher.encrypt(nonce, plain, PURPOSE)).decode("ascii")
        return sealed if len(sealed) <= _LONGEST_COOKIE else None

    def open(self, cookie: str, now: datetime) -> str | None:
        """The token; ``None``: the cookie was not made here, or is too old."""
        try:
            raw = base64.urlsafe_b64decode(cookie[:_LONGEST_COOKIE].encode())
            plain = self._cipher.decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], PURPOSE)
        except (ValueError, InvalidTag):
            return None
        token, until = cast("tuple[str, float]", json.loads(plain))
        return token if now.timestamp() < until else None

    def form_token(self, *of: str) -> str:
        """What a form carries to show that it came from a page of ours, in this session: a page elsewhere cannot know it."""
        return hmac.digest(self._form_key, "\0".join(of).encode(), "sha256").hex()
