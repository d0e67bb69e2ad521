"""Links that lead a person to one decision: which run and which wait they mean is signed with a key that all nodes share.

So every node can read a link, also after a restart; nothing is looked up for a forged one, and none can be made or guessed. A
link is as good as the wait it names: once that is answered, or has expired, it decides nothing any more.
"""

from __future__ import annotations

import base64
import hmac
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

PATH: Final = "/a/"
ANYBODY: Final = "web:local"
"""Who decides on the page, where nobody has to say who they are."""
PURPOSE: Final = b"approval page 1"
"""What the key of ``Links`` is for."""
_SIGNATURE_BYTES: Final = 16
_LONGEST: Final = 4096


@dataclass(frozen=True, slots=True)
class Asked:
    """What a link leads to. ``wait`` is the ``Waiting.key``: of this time that the run asks, and of no later one."""

    run_id: str
    wait: str


class Links:
    """``base`` is the address that people know this server by, such as ``https://workflows.example.com``."""

    def __init__(self, key: bytes, base: str) -> None:
        self._key = key
        self._base = base.rstrip("/")

    @property
    def secure(self) -> bool:
        """People come here by TLS."""
        return self._base.startswith("https:")

    @property
    def host(self) -> str:
        """The Host header of who comes here."""
        return urlsplit(self._base).netloc

    @property
    def path(self) -> str:
        """Below which links lie, as a browser sees it."""
        return urlsplit(self._base).path + PATH

    def url(self, run_id: str, wait: str) -> str:
        return f"{self._base}{PATH}{self.token(run_id, wait)}"

    def token(self, run_id: str, wait: str) -> str:
        payload = f"{run_id}.{_text(wait.encode())}"
        signature = hmac.digest(self._key, payload.encode(), "sha256")[:_SIGNATURE_BYTES]
        return f"{payload}.{_text(signature)}"

    def read(self, token: str) -> Asked | None:
        """``None``: it was not made with this key. A genuine one has exactly one spelling."""
        parts = token.split(".")
        if len(token) > _LONGEST or not token.isascii() or len(parts) != 3:
            return None
        try:
            wait = base64.b64decode(parts[1] + "=" * (-len(parts[1]) % 4), altchars=b"-_", validate=True).decode()
        except ValueError:
            return None
        genuine = self.token(parts[0], wait)
        return Asked(parts[0], wait) if hmac.compare_digest(token, genuine) else None


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")
