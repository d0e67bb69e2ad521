"""What a sample service is: routes over books in memory, each key answered once and replayed from then on."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

Json: TypeAlias = Any


@dataclass(frozen=True, slots=True)
class Ask:
    """A request as a service sees it; ``parts`` are what the route's ``{…}`` matched.

    ``method`` is ``CALL`` for the call of a tool, whose name is the path. Of files ``body`` only tells name, type, size
    and sum; their bytes are in ``files``, by the name of the field, ``""`` being the whole body of a request.
    """

    method: str
    path: str
    body: Mapping[str, Json] = field(default_factory=dict[str, Json])
    query: Mapping[str, str] = field(default_factory=dict[str, str])
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    parts: Mapping[str, str] = field(default_factory=dict[str, str])
    files: Mapping[str, bytes] = field(default_factory=dict[str, bytes])

    @property
    def key(self) -> str | None:
        return self.headers.get("idempotency-key")


@dataclass(frozen=True, slots=True)
class CallBack:
    """What a service tells a caller who gave it an address, once the answer is out."""

    url: str
    body: Json


@dataclass(frozen=True, slots=True)
class Answer:
    """What a service answers; ``replayed``: this is the first answer to that key once more, and nothing was done.

    A ``body`` of bytes is sent as it is, anything else as JSON.
    """

    status: int = 200
    body: Json = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    replayed: bool = False
    call_back: CallBack | None = None


Handler: TypeAlias = Callable[[Ask], Answer]


class Service:
    """Routes requests to handlers, and answers a repeated ``Idempotency-Key`` with its first answer."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.books: dict[str, dict[str, Json]] = {}
        """Every collection by name, and in it every entry by id."""
        self.contents: dict[str, bytes] = {}
        """What is in the files that the books tell of, by id."""
        self.entered = 0
        """How often the books were changed."""
        self._routes: list[tuple[str, re.Pattern[str], Handler]] = []
        self._answered: dict[str, tuple[str, Answer]] = {}

    def route(self, method: str, path: str, handler: Handler) -> None:
        """``path`` may have ``{name}`` in the place of one segment."""
        pattern = re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", path))
        self._routes.append((method, pattern, handler))

    def handle(self, ask: Ask) -> Answer:
        """The answer; its effect has taken place when this returns."""
        for method, pattern, handler in self._routes:
            if method == ask.method and (match := pattern.fullmatch(ask.path)):
                return self._once(ask, match.groupdict(), handler)
        return Answer(404, {"error": f"{self.name} has no {ask.method} {ask.path}"})

    def _once(self, ask: Ask, parts: Mapping[str, str], handler: Handler) -> Answer:
        asked = replace(ask, parts=parts)
        if ask.key is None:
            return handler(asked)
        content = f"{ask.method} {ask.path} {json.dumps(ask.body, sort_keys=True)}"
        if ask.key in self._answered:
            before, answer = self._answered[ask.key]
            if before != content:
                return Answer(400, {"error": "this Idempotency-Key was used for another request"})
            return Answer(answer.status, answer.body, answer.headers, replayed=True)
        answer = handler(asked)
        if answer.status < 500:
            self._answered[ask.key] = (content, replace(answer, body=deepcopy(answer.body)))
        return answer

    def add(self, collection: str, prefix: str, entry: Mapping[str, Json]) -> dict[str, Json]:
        """A new entry with the next id, ``prefix_1`` and so on; the entry as it stands in the books."""
        entries = self.books.setdefault(collection, {})
        return self.put(collection, f"{prefix}_{len(entries) + 1}", entry)

    def put(self, collection: str, entry_id: str, entry: Mapping[str, Json]) -> dict[str, Json]:
        """The entry of that id, made or replaced."""
        kept = {"id": entry_id, **entry}
        self.books.setdefault(collection, {})[entry_id] = kept
        self.entered += 1
        return kept

    def change(self, collection: str, entry_id: str, **changes: Json) -> Answer:
        """200 with the changed entry, or 404."""
        entry = self.find(collection, entry_id)
        if entry is None:
            return Answer(404, {"error": f"no {entry_id}"})
        entry.update(changes)
        self.entered += 1
        return Answer(200, entry)

    def remove(self, collection: str, entry_id: str) -> Answer:
        """204, or 404 when it is not there (any more). Its number is not given again: the entry stays, marked."""
        gone = self.change(collection, entry_id, deleted=True)
        return Answer(204) if gone.status == 200 else gone

    def find(self, collection: str, entry_id: str) -> dict[str, Json] | None:
        """The entry, if it is there and was not removed."""
        entry = self.books.get(collection, {}).get(entry_id)
        return None if entry is None or entry.get("deleted") else entry

    def shown(self, collection: str, entry_id: str) -> Answer:
        """200 with the entry, or 404."""
        entry = self.find(collection, entry_id)
        return Answer(200, entry) if entry else Answer(404, {"error": f"no {entry_id}"})

    def present(self, collection: str) -> list[dict[str, Json]]:
        """The entries that were not removed."""
        return [entry for entry in self.books.get(collection, {}).values() if not entry.get("deleted")]


def page_of(entries: Sequence[Json], ask: Ask) -> Answer:
    """One page of a list, ``{items, next?}``, as the query's ``limit`` (100) and ``cursor`` ask for it."""
    start, limit = ask.query.get("cursor", "0"), ask.query.get("limit", "100")
    if not start.isdecimal() or not limit.isdecimal() or not int(limit):
        return Answer(400, {"error": "no such page"})
    end = int(start) + int(limit)
    more = {"next": str(end)} if end < len(entries) else {}
    return Answer(200, {"items": list(entries[int(start) : end]), **more})


def lacking(ask: Ask, *names: str) -> Answer | None:
    """422 that names the properties the body lacks, or ``None``."""
    missing = [name for name in names if ask.body.get(name) is None]
    return Answer(422, {"error": f"{', '.join(missing)} missing"}) if missing else None
