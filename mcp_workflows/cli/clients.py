"""Where MCP clients keep their configuration, and what an entry for a server looks like in it.

The places are those that the clients' own documentation names. Each client has one file for the person who uses it, and, but
for Claude Desktop, one for a project, which is found in the current folder and shared with whoever works on it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final


class Client(StrEnum):
    """The clients whose configuration can be written."""

    CLAUDE_CODE = "claude-code"
    CLAUDE_DESKTOP = "claude-desktop"
    VSCODE = "vscode"
    CURSOR = "cursor"


TITLES: Final = {
    Client.CLAUDE_CODE: "Claude Code",
    Client.CLAUDE_DESKTOP: "Claude Desktop",
    Client.VSCODE: "VS Code",
    Client.CURSOR: "Cursor",
}


@dataclass(frozen=True, slots=True)
class Machine:
    """What decides where a person's files are. ``platform`` as ``sys.platform``.

    ``settings_said`` and ``claude_code_said``: where the environment says that programs keep what a person has set, and where
    it says that Claude Code does.
    """

    platform: str
    home: Path
    settings_said: Path | None = None
    claude_code_said: Path | None = None

    @property
    def settings(self) -> Path:
        """The folder in which programs keep what a person has set."""
        if self.platform == "darwin":
            return self.home / "Library" / "Application Support"
        if self.platform == "win32":
            return self.settings_said or self.home / "AppData" / "Roaming"
        return self.settings_said or self.home / ".config"


def persons_file(client: Client, machine: Machine) -> Path:
    """The file that holds for everything this person does with the client."""
    match client:
        case Client.CLAUDE_CODE:
            return (machine.claude_code_said or machine.home) / ".claude.json"
        case Client.CLAUDE_DESKTOP:
            return machine.settings / "Claude" / "claude_desktop_config.json"
        case Client.VSCODE:
            return machine.settings / "Code" / "User" / "mcp.json"
        case Client.CURSOR:
            return machine.home / ".cursor" / "mcp.json"


def project_file(client: Client, folder: Path) -> Path | None:
    """The file that holds in a project; ``None`` where the client knows no projects."""
    match client:
        case Client.CLAUDE_CODE:
            return folder / ".mcp.json"
        case Client.CLAUDE_DESKTOP:
            return None
        case Client.VSCODE:
            return folder / ".vscode" / "mcp.json"
        case Client.CURSOR:
            return folder / ".cursor" / "mcp.json"


def servers_key(client: Client) -> str:
    """The key of the file under which servers stand by name."""
    return "servers" if client is Client.VSCODE else "mcpServers"


def started_by_client(client: Client, command: str, arguments: list[str], env: Mapping[str, str]) -> dict[str, Any]:
    """An entry for a server that the client starts itself, on stdio."""
    entry: dict[str, Any] = {"type": "stdio"} if client in {Client.VSCODE, Client.CLAUDE_CODE} else {}
    entry |= {"command": command, "args": arguments}
    return entry | {"env": dict(env)} if env else entry


def reached_by_url(client: Client, url: str) -> dict[str, Any] | None:
    """An entry for a server that is up already; ``None`` where the client's file has none for such a server."""
    if client is Client.CLAUDE_DESKTOP:
        return None
    return {"url": url} if client is Client.CURSOR else {"type": "http", "url": url}
