"""The MCP servers that the settings name: the one place from which a process may be started."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mcp_workflows.errors import SettingsInvalid

SETTING: Final = "MCP_WORKFLOWS_MCP_SERVERS"
_CONFIDENTIAL = re.compile(r"token|key|secret|password|credential|auth", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class McpServer:
    """Reached by ``command`` (over its standard input and output) or by ``url``: one of the two is set."""

    name: str
    command: str | None = None
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    """What its process is given besides the few variables that every program needs."""
    cwd: str | None = None
    url: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)

    @property
    def confidential(self) -> dict[str, str]:
        """What must be told to nobody: headers, and variables whose name says so."""
        found = {name: value for name, value in self.env.items() if _CONFIDENTIAL.search(name)}
        for name, value in self.headers.items():
            found[name] = value.partition(" ")[2] or value
        return found


class _Entry(BaseModel):
    """Keys of other clients are passed over: the file may be one that they share."""

    model_config = ConfigDict(extra="ignore", strict=True)

    type: Literal["stdio", "http", "streamable-http", "streamableHttp"] | None = None
    command: Annotated[str, Field(min_length=1)] | None = None
    args: list[str] = []
    env: dict[str, str] = {}
    cwd: str | None = None
    url: Annotated[str, Field(pattern=r"^https?://")] | None = None
    headers: dict[str, str] = {}


def load_servers(path: Path | None) -> dict[str, McpServer]:
    """The servers in the file, by name. Raises ``SettingsInvalid``, which names the file, the server and the key."""
    if path is None:
        return {}
    try:
        content = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise SettingsInvalid(f"{SETTING}: {path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise SettingsInvalid(f"{SETTING}: {path} is no JSON: {error}") from None
    entries = cast("dict[str, Any]", content).get("mcpServers") if isinstance(content, dict) else None
    if not isinstance(entries, dict):
        raise SettingsInvalid(f'{SETTING}: {path} must be {{"mcpServers": {{NAME: {{…}}}}}}')
    return {name: _server(path, name, entry) for name, entry in cast("dict[str, Any]", entries).items()}


def unknown_server(name: str, servers: Mapping[str, McpServer]) -> str:
    """What to say of a server that is not here."""
    known = f"has {', '.join(sorted(servers))}" if servers else "names no server"
    return f'the MCP server "{name}" is not known here: {SETTING} {known}. Add it there, or give a URL'


def is_url(server: str) -> bool:
    """Otherwise it is the name of a server in the settings."""
    return server.lower().startswith(("http://", "https://"))


def _server(path: Path, name: str, entry: Any) -> McpServer:
    try:
        read = _Entry.model_validate(entry)
    except ValidationError as invalid:
        error = invalid.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, (name, *error["loc"])))
        raise SettingsInvalid(f"{SETTING}: {path}: mcpServers.{place}: {error['msg']}") from None
    if (read.command is None) == (read.url is None):
        raise SettingsInvalid(f"{SETTING}: {path}: mcpServers.{name}: give either command or url")
    return McpServer(name, read.command, tuple(read.args), read.env, read.cwd, read.url, read.headers)
