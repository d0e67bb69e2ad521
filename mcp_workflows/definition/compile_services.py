"""What steps share: where a service is, how it is spoken to, and finding the one that a step names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from mcp_workflows.definition.expressions import Expression, Template
from mcp_workflows.definition.model import Auth as AuthModel
from mcp_workflows.definition.model import Service
from mcp_workflows.definition.phrases import did_you_mean
from mcp_workflows.definition.program import Auth
from mcp_workflows.definition.site import EMPTY, Site
from mcp_workflows.definition.text.nodes import Map, Scalar, Seq

CONNECT_TIMEOUT = 10.0
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_SCHEME = re.compile(r"https?://", re.IGNORECASE)
_SERVER_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")


@dataclass(frozen=True, slots=True)
class CompiledService:
    """What a service brings into the steps that name it. It has ``base_url`` or ``mcp``."""

    base_url: str | None = None
    mcp: Template | None = None
    headers: Mapping[str, tuple[str, Template]] = field(default_factory=dict[str, tuple[str, Template]])
    """By lower-case name: the name as written, and the value."""
    auth: Auth | None = None
    timeout: float | None = None
    connect_timeout: float | None = None


def compile_service(model: Service, site: Site) -> CompiledService:
    if site.has("base_url") and site.has("mcp"):
        site.refuse("service", "a service has base_url or mcp, not both", key="mcp")
    elif not site.has("base_url") and not site.has("mcp"):
        site.refuse("service", "a service needs base_url, or mcp")
    base_url = None
    if model.base_url is not None:
        url = site.at("base_url", secrets=True)
        check_url(url, "base_url", url.text("base_url"))
        base_url = model.base_url.strip().rstrip("/")
    return CompiledService(
        base_url=base_url,
        mcp=_mcp_server(site) if model.mcp is not None else None,
        headers=compile_headers(site),
        auth=compile_auth(model.auth, site),
        timeout=model.timeout,
        connect_timeout=model.connect_timeout,
    )


def _mcp_server(site: Site) -> Template:
    """A URL, or the name that the settings give a server."""
    here = site.at("mcp", secrets=True)
    template = here.text("mcp")
    node = here.under("mcp").node
    text = node.value if isinstance(node, Scalar) and isinstance(node.value, str) else ""
    if "://" in text:
        check_url(here, "mcp", template)
    elif "${" not in text and not _SERVER_NAME.fullmatch(text):
        message = f'"{text[:40]}" is neither a URL nor the name of a server in the settings'
        site.document.refuse(node, "service", message)
    elif isinstance(node, Scalar):
        _refuse_input(
            here, node, template.expressions, "service", "the server may not come from input; name it, or a variable"
        )
    return template


def named_service(
    name: str, target: Literal["base_url", "mcp"], site: Site, services: Mapping[str, CompiledService]
) -> CompiledService | None:
    """The service that the step at ``site`` names. One that is not declared, or of the other sort, is reported."""
    declared = site.document.node(("services",))
    known = list(declared.entries) if isinstance(declared, Map) else []
    node = site.under("service").node
    if name not in known:
        near = did_you_mean(name, known)
        message = f'"{name}" is not declared under services.{near}'.removesuffix("." if not near else "")
        site.document.refuse(node, "service", message)
        return None
    service = services.get(name)
    if service is None:
        return None
    if target == "base_url" and service.base_url is None and service.mcp is not None:
        site.document.refuse(node, "service", f'"{name}" is an MCP server: call it by mcp_tool')
        return None
    if target == "mcp" and service.mcp is None and service.base_url is not None:
        site.document.refuse(node, "service", f'"{name}" is no MCP server: it has base_url, not mcp')
        return None
    return service


def check_url(site: Site, key: str, template: Template, *, from_input: bool = False) -> None:
    """The host stands in the file or comes from the deployment's settings, never from whoever calls the workflow.

    ``from_input``: the file says which hosts it may name, so it may come from there.
    """
    node = site.under(key).node
    if not isinstance(node, Scalar) or not isinstance(node.value, str):
        return
    text = node.value
    if not _SCHEME.match(text) and not text.lstrip().startswith("${"):
        site.document.refuse(node, "http", f'a URL begins with http:// or https://, found "{text[:40]}"')
        return
    if not from_input:
        end = _host_end(text, template.expressions)
        of_host = (expression for expression in template.expressions if expression.start < end)
        message = "the host of a URL may not come from input; name a service or a variable"
        _refuse_input(site, node, of_host, "http", message)


def url_of_path(site: Site, path: str, base_url: str | None) -> Template:
    """What stands under ``path`` at ``site``, after the service's ``base_url``."""
    site.text("path")
    node = site.under("path").node
    if not path.startswith("/"):
        site.document.refuse(node, "http", f'path begins with "/", found "{path[:40]}"')
    return site.joined(base_url, node) if base_url is not None and isinstance(node, Scalar) else EMPTY


def _refuse_input(site: Site, node: Scalar, expressions: Iterable[Expression], code: str, message: str) -> None:
    for expression in expressions:
        for reference in expression.references:
            if reference.path[0] in site.scope.from_input:
                site.document.refuse(node, code, message, expression.start + reference.offsets[0])


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


def compile_headers(site: Site, *roots: str) -> dict[str, tuple[str, Template]]:
    """By lower-case name: the name as written, and the value."""
    headers = site.at("headers", *roots, secrets=True).under("headers")
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


def compile_auth(model: AuthModel | None, site: Site) -> Auth | None:
    auth = site.at("auth", secrets=True).under("auth")
    if model is None:
        return None
    if model.bearer is not None:
        return Auth("bearer", (auth.text("bearer"),))
    if model.basic is not None:
        return Auth("basic", (auth.text("basic", 0), auth.text("basic", 1)))
    return Auth("header", (auth.text("header", 0), auth.text("header", 1)))
