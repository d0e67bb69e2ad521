"""Keeps secret values out of everything that is recorded, shown or logged.

A service may echo what it was sent, and a failing library may quote it. So whatever leaves ``steps`` goes through a
``Redactor`` first: the secrets themselves, and the forms that requests give them (percent-encoded, base64, as JSON text).
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, cast
from urllib.parse import quote, quote_plus

from mcp_workflows.definition.program import Json

SHORTEST = 4
"""Shorter values are not looked for: replacing every "a" would destroy answers and hide nothing."""


class Redactor:
    """Replaces secret values by ``[secret NAME]``. One without secrets costs nothing."""

    def __init__(self, secrets: Mapping[str, str]) -> None:
        forms = {
            form: name
            for name, value in secrets.items()
            if len(value) >= SHORTEST
            for form in _forms(value)
            if len(form) >= SHORTEST
        }
        self._forms = forms
        longest_first = sorted(forms, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first))) if forms else None

    def __bool__(self) -> bool:
        return bool(self._forms)

    def touches(self, text: str) -> bool:
        """Some secret stands in ``text``, in some form."""
        for form in self._forms:  # noqa: SIM110  # any() with a generator takes three times as long
            if form in text:
                return True
        return False

    def may_touch(self, raw: bytes, texts: Iterable[str]) -> bool:
        """Whether an answer must be searched value by value: cheap, and never wrongly false.

        A body with escapes, or in another charset, may hold a secret in a spelling that is not among the forms.
        """
        if b"\\" in raw or not raw.isascii():
            return True
        return self.touches("\n".join((raw.decode("ascii"), *texts)))

    def text(self, text: str) -> str:
        if self._pattern is None or not self.touches(text):
            return text
        return self._pattern.sub(lambda match: f"[secret {self._forms[match[0]]}]", text)

    def json(self, value: Json) -> Json:
        """``value`` with every text and key redacted; the same object when there is nothing to hide."""
        if self._pattern is None:
            return value
        match value:
            case str():
                return self.text(value)
            case dict():
                mapping = cast("dict[str, Any]", value)
                return {self.text(key): self.json(item) for key, item in mapping.items()}
            case list():
                return [self.json(item) for item in cast("list[Any]", value)]
            case _:
                return value


NOTHING = Redactor({})


def redactor_of(secrets: Mapping[str, str]) -> Redactor:
    """A redactor for these values; the last few sets are kept, as every attempt of a workflow asks for the same."""
    return _redactor(tuple(secrets.items())) if secrets else NOTHING


@lru_cache(maxsize=256)
def _redactor(secrets: tuple[tuple[str, str], ...]) -> Redactor:
    return Redactor(dict(secrets))


def _forms(value: str) -> Iterator[str]:
    yield value
    yield quote(value, safe="")
    yield quote(value)
    yield quote_plus(value)
    yield json.dumps(value)[1:-1]
    yield json.dumps(value, ensure_ascii=False)[1:-1]
    yield from _base64_forms(value.encode("utf-8", "surrogatepass"))


def _base64_forms(value: bytes) -> Iterator[str]:
    """Base64 of ``value`` wherever it stands in a longer text: at each offset, the characters that only it decides."""
    for offset in range(3):
        encoded = base64.b64encode(bytes(offset) + value).decode("ascii").rstrip("=")
        first = (offset * 8 + 5) // 6
        last = (offset + len(value)) * 8 // 6
        for form in (encoded[first:last], encoded[first:last].replace("+", "-").replace("/", "_")):
            # A short rest would be found in texts that have nothing to do with the secret.
            if len(form) >= 2 * SHORTEST:
                yield form
