"""What a node's settings give to the steps that run on it: values, secrets, limits."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from mcp_workflows.definition.program import Json
from mcp_workflows.errors import SettingsInvalid
from mcp_workflows.steps.blobs import Blobs
from mcp_workflows.steps.callback import CallbackTokens
from mcp_workflows.steps.mcp_tool.servers import McpServer
from mcp_workflows.steps.python.registry import Registered

MEBIBYTE = 1 << 20


def _no_secret(_name: str) -> str | None:
    return None


@dataclass(frozen=True, slots=True)
class Environment:
    """``secret`` is asked at every attempt, so a rotated secret is seen without a restart; ``None`` means: not set."""

    vars: Mapping[str, str] = field(default_factory=dict[str, str])
    """Overrides of the definitions' ``vars``, as texts."""
    secret: Callable[[str], str | None] = _no_secret
    http_allowed_hosts: tuple[str, ...] = ()
    """Empty: every host. See ``guard.Guard``."""
    max_answer_bytes: int = MEBIBYTE
    max_blob_bytes: int = 64 * MEBIBYTE
    """Of one body that lies outside the records, and of all blobs in one request."""
    blobs: Blobs | None = None
    callback_base: str | None = None
    """Where others reach a server of this database: ``https://workflows.example.com``. ``None``: nobody can call."""
    callback_tokens: CallbackTokens | None = None
    max_per_host: int = 100
    """Attempts in flight to one host and port; more wait, and their timeout waits with them."""

    functions: Mapping[str, Registered] = field(default_factory=dict[str, Registered])
    """What ``python`` steps may call, by name."""
    mcp_servers: Mapping[str, McpServer] = field(default_factory=dict[str, McpServer])
    """What ``mcp_tool`` steps may reach by name."""
    max_function_threads: int = 40
    """Sync functions in flight; more wait."""

    def vars_over(self, defaults: Mapping[str, Json]) -> Mapping[str, Json]:
        """What ``vars`` means here. Raises ``SettingsInvalid`` when an override does not fit the default's type."""
        if not self.vars or not any(name in self.vars for name in defaults):
            return defaults
        return {
            name: _typed(name, self.vars[name], default) if name in self.vars else default
            for name, default in defaults.items()
        }

    def secrets_of(self, names: Iterable[str]) -> dict[str, str]:
        """The declared secrets that have a value."""
        return {name: value for name in names if (value := self.secret(name)) is not None}

    def missing(self, names: Iterable[str]) -> tuple[str, ...]:
        """The declared secrets without a value: a node without them leaves such runs to others."""
        return tuple(name for name in names if self.secret(name) is None)


def _typed(name: str, text: str, default: Json) -> Json:
    """An override has the type of the default it replaces; settings only know texts."""
    if default is None or isinstance(default, str):
        return text
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if _same_kind(value, default):
        return value
    raise SettingsInvalid(f'MCP_WORKFLOWS_VAR_{name} is "{text}", which does not fit the default {json.dumps(default)}')


def _same_kind(value: Json, default: Json) -> bool:
    if isinstance(default, bool) or isinstance(value, bool):
        return isinstance(default, bool) and isinstance(value, bool)
    if isinstance(default, int | float):
        return isinstance(value, int | float)
    return type(value) is type(default)
