"""``install``: what is written into clients' configuration files, and what is left alone."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from mcp import Client as McpClient
from mcp import StdioServerParameters, stdio_client

from mcp_workflows.cli.clients import Client, Machine, persons_file, project_file
from tests.cli.place import TRIAL, Place

HOME = Path("/home/ada")


@pytest.fixture
def home(place: Place, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A person's folder, and definitions in the current one."""
    place.define("start_trial", TRIAL)
    home = place.folder / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    for name in ("APPDATA", "XDG_CONFIG_HOME", "CLAUDE_CONFIG_DIR"):
        monkeypatch.delenv(name, raising=False)
    return home


def read(file: Path) -> Any:
    return json.loads(file.read_text("utf-8"))


@pytest.mark.parametrize("client", Client)
def test_the_entry_starts_the_server_with_whole_paths(client: Client, place: Place, home: Path):
    told = place.call("install", client, "definitions", "--yes")
    assert told.code == 0, told.stderr
    file = persons_file(client, Machine(sys.platform, home))
    entry = read(file)["servers" if client is Client.VSCODE else "mcpServers"]["workflows"]
    assert entry["args"] == ["serve", str(place.folder / "definitions")]
    assert Path(entry["command"]).is_absolute()
    assert subprocess.run([entry["command"], "--version"], capture_output=True, check=True).stdout.startswith(
        b"mcp-workflows"
    )


@pytest.mark.parametrize(
    ("platform", "client", "file"),
    [
        ("darwin", Client.CLAUDE_DESKTOP, "Library/Application Support/Claude/claude_desktop_config.json"),
        ("win32", Client.CLAUDE_DESKTOP, "AppData/Roaming/Claude/claude_desktop_config.json"),
        ("linux", Client.CLAUDE_DESKTOP, ".config/Claude/claude_desktop_config.json"),
        ("darwin", Client.VSCODE, "Library/Application Support/Code/User/mcp.json"),
        ("linux", Client.VSCODE, ".config/Code/User/mcp.json"),
        ("linux", Client.CLAUDE_CODE, ".claude.json"),
        ("linux", Client.CURSOR, ".cursor/mcp.json"),
    ],
)
def test_each_client_has_its_file_on_each_system(platform: str, client: Client, file: str):
    assert persons_file(client, Machine(platform, HOME)) == HOME / file


@pytest.mark.parametrize("platform", ["win32", "linux"])
def test_the_environment_may_say_where_settings_are(platform: str):
    machine = Machine(platform, HOME, Path("/said"), Path("/claude"))
    assert persons_file(Client.VSCODE, machine) == Path("/said/Code/User/mcp.json")
    assert persons_file(Client.CLAUDE_CODE, machine) == Path("/claude/.claude.json")
    assert persons_file(Client.CURSOR, machine) == HOME / ".cursor/mcp.json"


def test_what_is_said_in_the_environment_is_heeded(place: Place, home: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(home / "claude"))
    assert place.call("install", "claude-code", "--yes").code == 0
    assert "workflows" in read(home / "claude" / ".claude.json")["mcpServers"]


def test_what_else_stands_in_the_file_stays_as_it_is_and_the_file_is_kept(place: Place, home: Path):
    file = home / ".cursor" / "mcp.json"
    file.parent.mkdir()
    before = '{\n    "theme": "dünkel",\n    "mcpServers": {\n        "other": {"command": "x", "args": []}\n    }\n}'
    file.write_text(before, "utf-8")
    file.chmod(0o600)
    told = place.call("install", "cursor", "--yes", "--json")
    assert told.code == 0, told.stderr
    assert told.json == {"client": "cursor", "file": str(file), "changed": True, "backup": f"{file}.bak1"}
    written = file.read_text("utf-8")
    assert list(json.loads(written)) == ["theme", "mcpServers"]
    assert list(json.loads(written)["mcpServers"]) == ["other", "workflows"]
    assert '\n    "theme": "dünkel"' in written  # its own indentation, its own letters
    assert file.stat().st_mode & 0o777 == 0o600
    assert Path(f"{file}.bak1").read_text("utf-8") == before


def test_the_same_again_changes_nothing(place: Place, home: Path):
    place.call("install", "cursor", "--yes")
    again = place.call("install", "cursor")
    assert again.code == 0
    assert "says so already" in again.stderr
    assert [file.name for file in (home / ".cursor").iterdir()] == ["mcp.json"]


def test_without_a_person_to_ask_nothing_is_written(place: Place, home: Path):
    told = place.call("install", "claude-code", stdin="y\n")
    assert told.code == 2
    assert '+      "command"' in told.stdout
    assert "--yes" in told.stderr
    assert not (home / ".claude.json").exists()


@pytest.mark.parametrize(("answer", "written"), [(b"y\n", True), (b"n\n", False)])
def test_a_person_is_shown_the_change_and_asked(place: Place, home: Path, answer: bytes, written: bool):
    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "mcp_workflows", "install", "claude-code", "--project"],
        cwd=place.folder, env=os.environ, stdin=terminal, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    os.write(controller, answer)
    stdout, stderr = process.communicate(timeout=60)
    os.close(controller)
    os.close(terminal)
    assert b'"workflows"' in stdout
    assert b"Write this?" in stderr
    assert (place.folder / ".mcp.json").exists() is written


@pytest.mark.parametrize("text", ['{\n  // mine\n  "servers": {}\n}', "[]", '{"servers": 3}', "{"])
def test_a_file_that_would_lose_something_is_left_alone_and_one_is_told_what_to_add(
    place: Place, home: Path, text: str
):
    file = place.folder / ".vscode" / "mcp.json"
    file.parent.mkdir()
    file.write_text(text)
    told = place.call("install", "vscode", "--project", "--yes")
    assert told.code == 2
    assert "Nothing was changed" in told.stderr
    assert '"workflows": {' in told.stderr
    assert file.read_text() == text
    assert [one.name for one in file.parent.iterdir()] == ["mcp.json"]


def test_a_link_to_the_file_stays_a_link(place: Place, home: Path):
    kept = place.folder / "dotfiles.json"
    kept.write_text("{}")
    (home / ".claude.json").symlink_to(kept)
    assert place.call("install", "claude-code", "--yes").code == 0
    assert (home / ".claude.json").is_symlink()
    assert "workflows" in read(kept)["mcpServers"]


def test_a_server_that_is_up_is_reached_by_its_url(place: Place, home: Path):
    url = "http://127.0.0.1:8911/mcp"
    for client, entry in (("claude-code", {"type": "http", "url": url}), ("cursor", {"url": url})):
        assert place.call("install", client, "--url", url, "--name", "flows", "--yes").code == 0
        assert read(persons_file(Client(client), Machine(sys.platform, home)))["mcpServers"]["flows"] == entry


def test_settings_are_given_along(place: Place, home: Path):
    assert place.call("install", "cursor", "--env", "MCP_WORKFLOWS_VAR_CRM_URL=https://crm.example", "--yes").code == 0
    entry = read(home / ".cursor" / "mcp.json")["mcpServers"]["workflows"]
    assert entry["env"] == {"MCP_WORKFLOWS_VAR_CRM_URL": "https://crm.example"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["claude-desktop", "--project"], "has no configuration for a project"),
        (["claude-desktop", "--url", "http://127.0.0.1:1/mcp"], "Connectors"),
        (["cursor", "nowhere"], "There is no"),
        (["cursor", "--url", "127.0.0.1:8911"], "is no URL"),
        (["cursor", "definitions", "--url", "http://127.0.0.1:1/mcp"], "leave PATH"),
        (["cursor", "--env", "CRM_URL=x"], "MCP_WORKFLOWS_NAME=VALUE"),
        (["emacs"], '"emacs" is not one of claude-code, claude-desktop, vscode, cursor.'),
        (["claude_code"], 'Did you mean "claude-code"?'),
    ],
)
def test_what_does_not_go_together_is_refused(place: Place, home: Path, arguments: list[str], said: str):
    told = place.call("install", *arguments, "--yes")
    assert told.code == 2
    assert said in " ".join(told.stderr.replace("│", "").split())
    assert "Value error" not in told.stderr
    assert list(home.iterdir()) == []


def test_what_a_client_wrote_while_the_person_thought_is_not_lost(place: Place, home: Path):
    file = home / ".claude.json"
    file.write_text("{}")
    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "mcp_workflows", "install", "claude-code"],
        cwd=place.folder, env=os.environ, stdin=terminal, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stderr is not None
    asked = b""
    while b"Write this?" not in asked:
        asked += process.stderr.read(1)
    file.write_text('{"projects": {}}')
    os.write(controller, b"y\n")
    _, stderr = process.communicate(timeout=60)
    os.close(controller)
    os.close(terminal)
    assert process.returncode == 2
    assert b"was changed meanwhile" in stderr
    assert read(file) == {"projects": {}}
    assert [one.name for one in home.iterdir()] == [".claude.json"]


def test_a_mark_of_its_encoding_is_no_reason_to_refuse_a_file(place: Place, home: Path):
    (home / ".claude.json").write_text('\ufeff{"theme": "dark"}', "utf-8")
    assert place.call("install", "claude-code", "--yes").code == 0
    assert list(read(home / ".claude.json")) == ["theme", "mcpServers"]


@pytest.mark.anyio
async def test_what_is_written_starts_the_server_wherever_the_client_is(place: Place, home: Path):
    spaced = place.folder / "my flows" / "défs"
    spaced.mkdir(parents=True)
    place.define("start_trial", TRIAL).rename(spaced / "start_trial.yaml")
    url = "MCP_WORKFLOWS_VAR_CRM_URL=http://127.0.0.1:1/a b?c=d"
    assert place.call("install", "cursor", str(spaced), "--env", url, "--yes").code == 0
    entry = read(home / ".cursor" / "mcp.json")["mcpServers"]["workflows"]
    assert entry["env"] == {"MCP_WORKFLOWS_VAR_CRM_URL": "http://127.0.0.1:1/a b?c=d"}
    started = StdioServerParameters(command=entry["command"], args=entry["args"], env=entry["env"], cwd="/")
    async with McpClient(stdio_client(started)) as client:
        assert "start_trial" in {tool.name for tool in (await client.list_tools()).tools}
    assert (spaced.parent / ".mcp-workflows" / "runs.db").exists()


def test_a_project_has_a_file_of_its_own():
    assert project_file(Client.CLAUDE_DESKTOP, HOME) is None
    assert project_file(Client.CURSOR, HOME) == HOME / ".cursor" / "mcp.json"
