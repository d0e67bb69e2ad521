"""``http`` steps and the services they share, compiled into ``HttpWork``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from mcp_workflows.definition.expressions import Expression, Template
from mcp_workflows.definition.model import Auth as AuthModel
from mcp_workflows.definition.model import Http, Service
from mcp_workflows.definition.model.http import BODIES
from mcp_workflows.definition.phrases import did_you_mean
from mcp_workflows.definition.program import Auth, HttpWork
from mcp_workflows.definition.site import EMPTY, Site
from mcp_workflows.definition.text.nodes import Map, Scalar, Seq

CONNECT_TIMEOUT = 10.0
HTTP_RESULT = ("status", "headers", "body")
"""What ``result`` is of a request."""
_TARGET = "give service + path or url, not both; and only one of json, form, text, multipart, blob"
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_SCHEME = re.compile(r"https?://", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class CompiledService:
    """What a service brings into the requests that name it."""

    base_url: str
    headers: Mapping[str, tuple[str, Template]] = field(default_factory=dict[str, tuple[str, Template]])
    """By lower-case name: the name as written, and the value."""
    auth: Auth | None = None
    timeout: float | None = None
    connect_timeout: float | None = None


def compile_service(model: Service, site: Site) -> CompiledService:
    url = site.at("base_url", secrets=True)
    _check_url(url, "base_url", url.text("base_url"))
    return CompiledService(
        base_url=model.base_url.strip().rstrip("/"),
        headers=_headers(site),
        auth=_auth(model.auth, site),
        timeout=model.timeout,
        connect_timeout=model.connect_timeout,
    )


def compile_http(model: Http, site: Site, services: Mapping[str, CompiledService]) -> HttpWork:
    """``site`` is the mapping under ``http``."""
    service = _service(model, site, services)
    body_kind = _body_kind(site)
    rendered = site.at("query", secrets=True)
    return HttpWork(
        method=model.method,
        url=_url(model, site, service),
        query=rendered.shape("query", ordered=False) if model.query is not None else None,
        headers=tuple({**(service.headers if service else {}), **_headers(site)}.values()),
        body_kind=body_kind,
        body=site.at(body_kind, secrets=True).shape(body_kind, ordered=False) if body_kind else None,
        auth=_auth(model.auth, site) or (service.auth if service else None),
        connect_timeout=model.connect_timeout or (service.connect_timeout if service else None) or CONNECT_TIMEOUT,
        success=_success(model, site),
        response=model.response,
        idempotency_key=_idempotency_key(model, site),
        service=model.service,
    )


def _service(model: Http, site: Site, services: Mapping[str, CompiledService]) -> CompiledService | None:
    if model.service is None:
        return None
    declared = site.document.node(("services",))
    known = list(declared.entries) if isinstance(declared, Map) else []
    if model.service not in known:
        node = site.under("service").node
        near = did_you_mean(model.service, known)
        message = f'"{model.service}" is not declared under services.{near}'.removesuffix("." if not near else "")
        site.document.refuse(node, "service", message)
    return services.get(model.service)


def _body_kind(site: Site) -> Literal["json", "form", "text"] | None:
    node = site.node
    given = [kind for kind in BODIES if isinstance(node, Map) and kind in node.entries]
    if len(given) > 1 and isinstance(node, Map):
        second = max(given, key=lambda kind: node.entries[kind].key.start)
        site.refuse("http", _TARGET, key=second)
    return next((kind for kind in BODIES if kind in given), None)


def _url(model: Http, site: Site, service: CompiledService | None) -> Template:
    keys = site.node.entries if isinstance(site.node, Map) else {}
    if "url" in keys and ("service" in keys or "path" in keys):
        site.refuse("http", _TARGET, key="url")
    elif "url" not in keys and not ("service" in keys and "path" in keys):
        site.refuse("http", _TARGET)
    if model.url is not None:
        url = site.at("url", secrets=True)
        template = url.text("url")
        _check_url(url, "url", template)
        return template
    if model.path is None:
        return EMPTY
    site.at("path", secrets=True).text("path")
    node = site.under("path").node
    if not model.path.startswith("/"):
        site.document.refuse(node, "http", f'path begins with "/", found "{model.path[:40]}"')
    if service is None or not isinstance(node, Scalar):
        return EMPTY
    return site.joined(service.base_url, node)


def _check_url(site: Site, key: str, template: Template) -> None:
    """The host stands in the file or comes from the deployment's settings, never from whoever calls the workflow."""
    node = site.under(key).node
    if not isinstance(node, Scalar) or not isinstance(node.value, str):
        return
    text = node.value
    if not _SCHEME.match(text) and not text.lstrip().startswith("${"):
        site.document.refuse(node, "http", f'a URL begins with http:// or https://, found "{text[:40]}"')
        return
    end = _host_end(text, template.expressions)
    for expression in template.expressions:
        for reference in expression.references:
            if expression.start < end and reference.path[0] == "input":
                message = "the host of a URL may not come from input; name a service or a variable"
                site.document.refuse(node, "http", message, expression.start + reference.offsets[0])


def _host_end(text: str, expressions: tuple[Expression, ...]) -> int:
    """Where the host of a URL ends in its text: at the first of ``/ ? #`` that no expression holds."""
    masked = list(text)
    for expression in expressions:
        end = text.find("}", expression.start + len(expression.source))
        for at in range(expression.start, max(end, expression.start)):
            masked[at] = "_"
    scheme = _SCHEME.match(text)
    found = re.search(r"[/?#]", "".join(masked)[scheme.end() if scheme else 0 :])
    return len(text) if found is None else found.start() + (scheme.end() if scheme else 0)


def _headers(site: Site) -> dict[str, tuple[str, Template]]:
    headers = site.at("headers", secrets=True).under("headers")
    node = site.document.node(headers.path)
    found: dict[str, tuple[str, Template]] = {}
    if not isinstance(node, Map):
        return found
    for name, entry in sorted(node.entries.items()):
        if not _HEADER_NAME.fullmatch(name):
            site.document.refuse(entry.key, "http", f'"{name[:40]}" is no name of a header')
        elif isinstance(entry.value, Map | Seq):
            site.document.refuse(entry.value, "http", f'the header "{name}" takes a text')
        else:
            found[name.lower()] = (name, headers.text(name))
    return found


def _auth(model: AuthModel | None, site: Site) -> Auth | None:
    auth = site.at("auth", secrets=True).under("auth")
    if model is None:
        return None
    if model.bearer is not None:
        return Auth("bearer", (auth.text("bearer"),))
    if model.basic is not None:
        return Auth("basic", (auth.text("basic", 0), auth.text("basic", 1)))
    return Auth("header", (auth.text("header", 0), auth.text("header", 1)))


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
