"""``http`` steps, compiled into ``HttpWork``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

from mcp_workflows.definition.compile_long_http import HTTP_RESULT, compile_callback, compile_poll
from mcp_workflows.definition.compile_services import (
    CONNECT_TIMEOUT,
    CompiledService,
    check_url,
    compile_auth,
    compile_headers,
    named_service,
    url_of_path,
)
from mcp_workflows.definition.expressions import Expression, Template
from mcp_workflows.definition.model import Http
from mcp_workflows.definition.model.http import BODIES
from mcp_workflows.definition.phrases import did_you_mean, listed
from mcp_workflows.definition.program import HttpWork
from mcp_workflows.definition.site import EMPTY, Site
from mcp_workflows.definition.text.nodes import Map, Node, Seq

_NO_TARGET = "needs url, or service and path"
_TWO_TARGETS = "give url, or service and path, not both"
_PART_KEYS = ("blob", "text", "filename", "content_type")
_OF_A_BLOB = "is what a step with response: blob gave, as ${steps.file.output}"


def compile_http(model: Http, site: Site, services: Mapping[str, CompiledService]) -> HttpWork:
    """``site`` is the mapping under ``http``."""
    service = named_service(model.service, "base_url", site, services) if model.service is not None else None
    roots = ("callback_url",) if model.callback is not None else ()
    body_kind = _body_kind(site)
    work = HttpWork(
        method=model.method,
        url=_url(model, site, service, roots),
        query=site.at("query", *roots, secrets=True).shape("query", ordered=False) if model.query is not None else None,
        headers=tuple({**(service.headers if service else {}), **compile_headers(site, *roots)}.values()),
        body_kind=body_kind,
        body=_body(body_kind, site, roots),
        auth=compile_auth(model.auth, site) or (service.auth if service else None),
        connect_timeout=model.connect_timeout or (service.connect_timeout if service else None) or CONNECT_TIMEOUT,
        success=_success(model, site),
        response=model.response,
        idempotency_key=_idempotency_key(model, site),
        service=model.service,
        allowed_hosts=_allowed_hosts(model),
    )
    if model.poll is not None and model.callback is not None:
        site.refuse("http", "poll or callback, not both: a step ends in one way", key="callback")
    base_url = service.base_url if service is not None else None
    return replace(
        work,
        poll=compile_poll(model.poll, site, base_url) if model.poll is not None else None,
        callback=compile_callback(model.callback, site, work) if model.callback is not None else None,
    )


def _body_kind(site: Site) -> Literal["json", "form", "text", "multipart", "blob"] | None:
    node = site.node
    given = [kind for kind in BODIES if isinstance(node, Map) and kind in node.entries]
    if len(given) > 1 and isinstance(node, Map):
        second = max(given, key=lambda kind: node.entries[kind].key.start)
        site.refuse("http", f"only one of {listed(BODIES)} may be sent; found {listed(given)}", key=second)
    return next((kind for kind in BODIES if kind in given), None)


def _body(kind: str | None, site: Site, roots: tuple[str, ...]) -> Template | None:
    if kind is None:
        return None
    body = site.at(kind, *roots, secrets=True).shape(kind, ordered=False, needs_value=kind == "blob")
    node = site.under(kind).node
    if kind == "blob":
        _check_blob(node, body, site)
    elif kind == "multipart" and isinstance(node, Map):
        for name, entry in node.entries.items():
            for part in entry.value.items if isinstance(entry.value, Seq) else [entry.value]:
                _check_field(name, part, site)
    return body


def _check_field(name: str, node: Node, site: Site) -> None:
    """Of ``multipart``: a text, or a part that says more of itself."""
    if isinstance(node, Seq):
        site.document.refuse(node, "http", f'the field "{name}" takes texts and files, not lists of lists')
    if not isinstance(node, Map):
        return
    for key, entry in node.entries.items():
        if key not in _PART_KEYS:
            near = did_you_mean(key, _PART_KEYS)
            message = f'"{key}" is not a key of a part, which has {listed(_PART_KEYS)}.{near}'
            site.document.refuse(entry.key, "http", message.removesuffix("." if not near else ""))
    if ("blob" in node.entries) == ("text" in node.entries):
        site.document.refuse(node, "http", f'the part "{name}" needs blob or text, and only one of them')


def _check_blob(node: Node, body: Template, site: Site) -> None:
    fits = isinstance(node, Map) or (isinstance(body.shape, Expression) and body.shape.result_type in ("map", "dyn"))
    if not fits and body is not EMPTY:
        site.document.refuse(node, "http", f"blob {_OF_A_BLOB}")


def _url(model: Http, site: Site, service: CompiledService | None, roots: tuple[str, ...]) -> Template:
    keys = site.node.entries if isinstance(site.node, Map) else {}
    if "url" in keys and ("service" in keys or "path" in keys):
        site.refuse("http", _TWO_TARGETS, key="url")
    elif "url" not in keys and not ("service" in keys and "path" in keys):
        site.refuse("http", f"http {_NO_TARGET}")
    if model.url is not None:
        url = site.at("url", *roots, secrets=True)
        template = url.text("url")
        check_url(url, "url", template, from_input=site.has("allowed_hosts"))
        return template
    if model.path is None:
        return EMPTY
    return url_of_path(site.at("path", *roots, secrets=True), model.path, service.base_url if service else None)


def _allowed_hosts(model: Http) -> tuple[str, ...]:
    return tuple(host.lower() for host in model.allowed_hosts or ())


def _success(model: Http, site: Site) -> tuple[str, ...] | Expression:
    if isinstance(model.success, list):
        return tuple(model.success)
    if model.success is None:
        return ("2xx",)
    if "${" not in model.success:
        message = f"success is a list of codes, [{model.success[:20]}], or an expression on result"
        site.document.refuse(site.under("success").node, "http", message)
        return ("2xx",)
    here = site.within(replace(site.scope, result_parts=HTTP_RESULT)).at("success", "result")
    return here.condition("success") or ("2xx",)


def _idempotency_key(model: Http, site: Site) -> Template | Literal[False] | None:
    if model.idempotency_key is None or model.idempotency_key is False:
        return model.idempotency_key
    return site.at("idempotency_key").text("idempotency_key")
