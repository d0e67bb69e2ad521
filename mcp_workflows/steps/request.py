"""From a step's http work and its values to the one request that is sent, at the moment of the attempt.

Everything that may not go over the wire is refused here, before anything is sent, with a message that names the place
and never the value: line breaks in headers, texts that are no Unicode, credentials in a URL.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple, cast
from urllib.parse import quote, urlencode

from yarl import URL

from mcp_workflows import __version__
from mcp_workflows.definition.expressions import ABSENT, Template
from mcp_workflows.definition.json_text import to_unicode
from mcp_workflows.definition.program import Auth, HttpWork, Json
from mcp_workflows.engine.outcome import StepCall
from mcp_workflows.steps.packing import PACKINGS

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_URL_PARTS = re.compile(r"(https?://[^/?#\\\s]+)([^#]*)(?:#.*)?", re.IGNORECASE | re.DOTALL)
_URL_CHARACTERS = "%/?:@!$&'()*+,;=~[]-._"
_DOT_SEGMENT = re.compile(r"^[^?]*/(?:\.|%2e){1,2}(?:[/?]|$)", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_OURS = frozenset(
    {"connection", "content-length", "expect", "host", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}
)
_BASE_HEADERS = {
    "User-Agent": f"mcp-workflows/{__version__}",
    "Accept": "application/json, */*;q=0.8",
    "Accept-Encoding": PACKINGS,
}
_NOTHING: Mapping[str, Json] = {}
_NO_KEY = frozenset({"GET", "HEAD"})
_CONFIDENTIAL = frozenset({"secrets", "callback_url"})
OUTSIDE = frozenset({"blob", "multipart"})
"""Kinds of bodies that are read from the store after the request is rendered."""


Origin = tuple[str, str, int | None]
"""Scheme, host and port: whom one speaks to."""


class RequestInvalid(Exception):
    """The request cannot be made as it stands; nothing was sent. The message holds no values."""


class Request(NamedTuple):
    """What is sent. ``shown`` is what a caller may see and correct, not yet redacted."""

    method: str
    url: URL
    headers: dict[str, str]
    body: bytes | None
    shown: dict[str, Json]
    secret_body: bool = False
    """The body holds a secret, or a callback's URL: it goes to the host that it was meant for, and to no other."""

    @property
    def origin(self) -> Origin:
        return origin(self.url)


def render(work: HttpWork, call: StepCall, values: Mapping[str, Json]) -> Request:
    """A body that lies outside the records (``OUTSIDE``) is not in it yet: see ``outside.with_body``.

    Raises ``ExpressionFailed`` and ``RequestInvalid``.
    """
    correction = _correction(work, call.correction)
    text = work.url.render_url(values)
    shown: dict[str, Json] = {"method": work.method, "url": text}
    if work.query is not None or "query" in correction:
        query: Json = work.query.render(values) if work.query is not None else {}
        if "query" in correction:
            query = merge_patch(query, correction["query"])
        shown["query"] = query
        text = _with_query(text, urlencode(list(_pairs("query", query))))
    url = url_of(text)
    headers = _headers(work, call, values)
    body = _body(work, values, correction, headers, shown)
    secret_body = work.body is not None and not work.body.names.isdisjoint(_CONFIDENTIAL)
    return Request(work.method, url, headers, body, shown, secret_body)


def origin(url: URL) -> Origin:
    return url.scheme, url.raw_host or "", url.port


@lru_cache(maxsize=1024)
def url_of(text: str) -> URL:
    """Exactly what was written and inserted, with what no URL may hold encoded; nothing is decoded or resolved."""
    parts = _URL_PARTS.fullmatch(text)
    if parts is None:
        raise RequestInvalid("the url must begin with http:// or https:// and a host")
    host, tail = parts.groups()
    if "@" in host:
        raise RequestInvalid("the url holds credentials; give them as auth")
    if _DOT_SEGMENT.search(tail):
        # An inserted ".." would climb out of the author's path, as clients and servers resolve it.
        raise RequestInvalid('the path holds "." or ".." as a part')
    try:
        base = URL(host).origin()
        return URL(f"{base}{quote(tail, safe=_URL_CHARACTERS)}", encoded=True)
    except ValueError:
        raise RequestInvalid("the url cannot be read") from None


def _with_query(text: str, query: str) -> str:
    if not query:
        return text
    text = text.partition("#")[0]
    return f"{text}{'&' if '?' in text else '?'}{query}"


def _headers(work: HttpWork, call: StepCall, values: Mapping[str, Json]) -> dict[str, str]:
    headers = dict(_BASE_HEADERS)
    if work.headers:
        _put_all(headers, work.headers, values)
    key = work.idempotency_key
    if work.method not in _NO_KEY and key is not False and not (work.headers and _named(headers, "idempotency-key")):
        headers["Idempotency-Key"] = (
            call.idempotency_key if key is None else header_value("Idempotency-Key", key.render(values))
        )
    if work.auth is not None:
        _put(headers, *_credentials(work.auth, values))
    return headers


def _writes_headers(work: HttpWork) -> bool:
    """Its author names headers, any of which may be one of ours."""
    return bool(work.headers) or (work.auth is not None and work.auth.scheme == "header")


def _named(headers: Mapping[str, str], lower: str) -> str | None:
    """How a header is written that is there already."""
    for name in headers:
        if name.lower() == lower:
            return name
    return None


def _put(headers: dict[str, str], name: str, value: str) -> None:
    """In the place of one by the same name, however that is written."""
    there = _named(headers, name.lower())
    if there is not None:
        del headers[there]
    headers[name] = value


def service_headers(
    headers: tuple[tuple[str, Template], ...], auth: Auth | None, values: Mapping[str, Json]
) -> dict[str, str]:
    """A service's own headers and credentials, for a client that adds what its protocol needs.

    Raises ``ExpressionFailed`` and ``RequestInvalid``.
    """
    rendered: dict[str, str] = {}
    _put_all(rendered, headers, values)
    if auth is not None:
        _put(rendered, *_credentials(auth, values))
    return rendered


def _put_all(headers: dict[str, str], templates: tuple[tuple[str, Template], ...], values: Mapping[str, Json]) -> None:
    for name, template in templates:
        value = template.render_optional(values)
        if value is ABSENT:
            continue
        if name.lower() in _OURS:
            raise RequestInvalid(f'header "{name}" is set by the client itself')
        _put(headers, _header_name(name), header_value(name, value))


def _credentials(auth: Auth, values: Mapping[str, Json]) -> tuple[str, str]:
    parts = [text_of("auth", part.render(values)) for part in auth.parts]
    match auth.scheme:
        case "bearer":
            return "Authorization", header_value("auth", f"Bearer {parts[0]}")
        case "basic":
            if ":" in parts[0]:
                raise RequestInvalid("auth: a user name cannot hold a colon")
            pair = utf8("auth", f"{parts[0]}:{parts[1]}")
            return "Authorization", f"Basic {base64.b64encode(pair).decode('ascii')}"
        case "header":
            return _header_name(parts[0]), header_value(parts[0], parts[1])


def _header_name(name: str) -> str:
    if not _TOKEN.fullmatch(name):
        raise RequestInvalid(f"{json.dumps(name)} is no name of a header")
    return name


def header_value(name: str, value: Json) -> str:
    text = text_of(f'header "{name}"', value).strip(" \t")
    if not text.isascii():
        utf8(f'header "{name}"', text)
    found = _CONTROL.search(text)
    if found:
        kind = {"\r": "a line break", "\n": "a line break", "\0": "a NUL"}.get(found[0], "a control character")
        raise RequestInvalid(f'header "{name}" holds {kind}')
    return text


def _body(
    work: HttpWork,
    values: Mapping[str, Json],
    correction: Mapping[str, Json],
    headers: dict[str, str],
    shown: dict[str, Json],
) -> bytes | None:
    if work.body is None or work.body_kind is None:
        return None
    kind = work.body_kind
    content: Json = work.body.render(values)
    if kind in correction:
        content = correction[kind] if kind in {"text", "blob"} else merge_patch(content, correction[kind])
    shown[kind] = content
    if kind in OUTSIDE:
        return None
    if kind == "json":
        media_type, text = "application/json", _json(content)
    elif kind == "form":
        media_type, text = "application/x-www-form-urlencoded", _form(content)
    else:
        media_type, text = "text/plain; charset=utf-8", text_of("text", content)
    if not (_writes_headers(work) and _named(headers, "content-type")):
        headers["Content-Type"] = media_type
    return utf8(kind, text)


def _json(content: Json) -> str:
    try:
        return to_unicode(content)
    except (TypeError, ValueError, RecursionError) as error:
        raise RequestInvalid(f"json: cannot be written as JSON ({type(error).__name__})") from None


def _form(content: Json) -> str:
    try:
        return urlencode(list(_pairs("form", content)))
    except UnicodeEncodeError:
        raise RequestInvalid("form: a text holds half of a surrogate pair") from None


def _pairs(place: str, content: Json) -> Iterator[tuple[str, str]]:
    """A list repeats the name, null leaves it out."""
    if not isinstance(content, dict):
        raise RequestInvalid(f"{place}: expected a mapping, found {kind_name(content)}")
    for name, value in cast("dict[str, Any]", content).items():
        for item in cast("list[Any]", value) if isinstance(value, list) else [value]:
            if item is not None:
                text = text_of(f"{place}.{name}", item)
                utf8(place, name + text)
                yield name, text


def text_of(place: str, value: Json) -> str:
    """Text as it is; numbers and booleans as in JSON."""
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case int() | float():
            return _json(value)
        case _:
            raise RequestInvalid(f"{place}: expected text, found {kind_name(value)}")


def utf8(place: str, text: str) -> bytes:
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        raise RequestInvalid(f"{place}: a text holds half of a surrogate pair") from None


def kind_name(value: Json) -> str:
    match value:
        case dict():
            return "a mapping"
        case list():
            return "a list"
        case None:
            return "null"
        case str():
            return "text"
        case _:
            return "true or false" if isinstance(value, bool) else "a number"


def refuse_correction(work: HttpWork, correction: Json) -> str | None:
    """Why a person's correction of this request is refused, or ``None``: the same rules hold here and at ``resume``."""
    if correction is None:
        return None
    if not isinstance(correction, dict):
        return f"request: expected a mapping, found {kind_name(correction)}"
    allowed = {"query", work.body_kind or "query"}
    for key, value in cast("dict[str, Any]", correction).items():
        if key not in allowed:
            return f'request: "{key}" cannot be corrected here, only {" and ".join(sorted(allowed))}'
        if key in {"query", "form", "multipart"} and not isinstance(value, dict):
            return f"request.{key}: expected a mapping, found {kind_name(value)}"
        if key == "text" and not isinstance(value, str):
            return f"request.text: expected text, found {kind_name(value)}"
    return None


def _correction(work: HttpWork, correction: Json) -> Mapping[str, Json]:
    if correction is None:
        return _NOTHING
    refused = refuse_correction(work, correction)
    if refused:
        raise RequestInvalid(refused)
    return cast("dict[str, Any]", correction)


def merge_patch(target: Json, patch: Json) -> Json:
    """RFC 7396: mappings merge, null deletes, anything else replaces."""
    if not isinstance(patch, dict):
        return patch
    result: dict[str, Json] = dict(cast("dict[str, Any]", target)) if isinstance(target, dict) else {}
    for key, value in cast("dict[str, Any]", patch).items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge_patch(result.get(key), value)
    return result
