"""``install``: writes a client's configuration, so that nobody has to look for the file and its form.

It shows what would change and asks. The file as it was is kept beside it; a file that cannot be read as what it should
be is left alone.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import tempfile
from dataclasses import dataclass
from difflib import unified_diff
from pathlib import Path
from typing import Annotated, Any, Final, cast

import typer
from rich.markup import escape

from mcp_workflows.cli.clients import (
    TITLES,
    Client,
    Machine,
    persons_file,
    project_file,
    reached_by_url,
    servers_key,
    started_by_client,
)
from mcp_workflows.cli.command import command
from mcp_workflows.cli.exits import Exit
from mcp_workflows.cli.options import AsJson
from mcp_workflows.cli.terminal import print_json, remark, stdout
from mcp_workflows.definition.phrases import did_you_mean
from mcp_workflows.errors import InputRefused
from mcp_workflows.settings import PREFIX

_INDENT: Final = re.compile(r"^([ \t]+)\S", re.MULTILINE)
_STYLES: Final = {"+": "good", "-": "bad", "@": "dim"}


@dataclass(frozen=True, slots=True)
class _Change:
    """One file as it is and as it would be. ``before`` is ``None`` where there is no file yet."""

    file: Path
    before: str | None
    after: str

    @property
    def changes(self) -> bool:
        return self.before is None or json.loads(self.before or "{}") != json.loads(self.after)


def _client(text: str) -> Client:
    try:
        return Client(text)
    except ValueError:
        raise typer.BadParameter(f'"{text}" is not one of {", ".join(Client)}.{did_you_mean(text, Client)}') from None


@command
def install(
    client: Annotated[Client, typer.Argument(metavar="CLIENT", parser=_client, help=f"{', '.join(Client)}.")],
    paths: Annotated[
        list[Path] | None,
        typer.Argument(metavar="PATH", help="Files and folders with definitions. Default: ./definitions"),
    ] = None,
    name: Annotated[str, typer.Option(help="What the client calls the server.")] = "workflows",
    url: Annotated[
        str | None, typer.Option(metavar="URL", help="A server that is up, instead of one that the client starts.")
    ] = None,
    project: Annotated[
        bool, typer.Option("--project", help="For the project in this folder, not for all that you do.")
    ] = False,
    env: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help=f"A setting ({PREFIX}…) of the server; repeatable.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Write without asking.")] = False,
    as_json: AsJson = False,
) -> Exit:
    """Add the server to a client's configuration: shows the change, asks, keeps a backup."""
    machine = _machine()
    file = project_file(client, Path.cwd()) if project else persons_file(client, machine)
    if file is None:
        raise InputRefused(f"{TITLES[client]} has no configuration for a project: leave --project out.")
    entry = _entry(client, paths, url, env or [])
    change = _change(Path(os.path.realpath(file)), servers_key(client), name, entry)
    if not change.changes:
        return _told(client, change, None, as_json=as_json)
    if not as_json:
        _show(change)
    if not yes and (as_json or not sys.stdin.isatty() or not typer.confirm("Write this?", err=True)):
        remark("Nothing was written. [dim]--yes writes without asking[/]")
        return Exit.REFUSED
    return _told(client, change, _write(change), as_json=as_json)


def _machine() -> Machine:
    said = {name: os.environ.get(name) for name in ("APPDATA", "XDG_CONFIG_HOME", "CLAUDE_CONFIG_DIR")}
    places = {name: Path(text) for name, text in said.items() if text}
    settings = places.get("APPDATA" if sys.platform == "win32" else "XDG_CONFIG_HOME")
    return Machine(sys.platform, Path.home(), settings, places.get("CLAUDE_CONFIG_DIR"))


def _entry(client: Client, paths: list[Path] | None, url: str | None, env: list[str]) -> dict[str, Any]:
    """Raises InputRefused: the options do not go together, or something named is not there."""
    if url is not None:
        if paths or env:
            raise InputRefused("A server at a URL has its definitions and settings already: leave PATH and --env out.")
        if not re.match(r"https?://[^\s/]+", url):
            raise InputRefused(f'"{url}" is no URL of a server: write http://127.0.0.1:8911/mcp')
        entry = reached_by_url(client, url)
        if entry is None:
            raise InputRefused(
                f"{TITLES[client]} takes a URL only in its settings, under Connectors. Leave --url out: it then starts a "
                "server of its own, which shares the runs of the other."
            )
        return entry
    served = [path.resolve() for path in paths or [Path("definitions")]]
    if missing := [str(path) for path in served if not path.exists()]:
        raise InputRefused(f"There is no {', '.join(missing)}. Name the files and folders with your definitions.")
    arguments = ["serve", *map(str, served)]
    return started_by_client(client, _program(), arguments, dict(map(_setting, env)))


def _program() -> str:
    """The whole path of this program: a desktop client has another PATH than this shell."""
    beside = Path(sys.executable).parent / "mcp-workflows"
    found = shutil.which(str(beside)) or shutil.which("mcp-workflows")
    if found is None:
        raise InputRefused("The program mcp-workflows is not installed beside this Python: pip install mcp-workflows.")
    return str(Path(found).absolute())


def _setting(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.startswith(PREFIX):
        raise InputRefused(f'--env "{text}": write {PREFIX}NAME=VALUE.')
    return name, value


def _change(file: Path, key: str, name: str, entry: dict[str, Any]) -> _Change:
    """Raises InputRefused where the file is not what it should be; it is left alone then."""
    before = _read(file)
    by_hand = f'Nothing was changed. Add this to "{key}" yourself:\n{json.dumps({name: entry}, indent=2)}'
    try:
        config: Any = json.loads(before) if before and before.strip() else {}
    except json.JSONDecodeError as error:
        raise InputRefused(
            f"{file} is no plain JSON ({error.msg} at line {error.lineno}); if it holds comments, they would be lost. "
            f"{by_hand}"
        ) from None
    if not isinstance(config, dict) or not isinstance(cast("dict[str, Any]", config).get(key, {}), dict):
        raise InputRefused(f'{file} is not of the form {{"{key}": {{…}}}}. {by_hand}')
    whole = cast("dict[str, Any]", config)
    after = {**whole, key: {**whole.get(key, {}), name: entry}}
    indent = _INDENT.search(before or "")
    text = json.dumps(after, indent=indent[1] if indent else 2, ensure_ascii=False)
    return _Change(file, before, text + "\n")


def _read(file: Path) -> str | None:
    """What it holds; ``None``: there is none. Raises InputRefused."""
    try:
        return file.read_text("utf-8-sig")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise InputRefused(f"{file} cannot be read: {error}. Nothing was changed.") from None


def _show(change: _Change) -> None:
    console = stdout()
    before = (change.before or "").splitlines()
    for line in unified_diff(before, change.after.splitlines(), "as it is", str(change.file), n=3, lineterm=""):
        style = _STYLES.get(line[:1])
        console.print(f"[{style}]{escape(line)}[/]" if style else escape(line), soft_wrap=True)


def _write(change: _Change) -> Path | None:
    """All or nothing; answers with the backup. Raises InputRefused: it cannot be written, and is as it was."""
    if _read(change.file) != change.before:  # people take their time, and clients keep more than this in their files
        raise InputRefused(f"{change.file} was changed meanwhile. Nothing was written: look again.")
    try:
        change.file.parent.mkdir(parents=True, exist_ok=True)
        backup = None if change.before is None else _backup(change.file)
        handle, name = tempfile.mkstemp(dir=change.file.parent, prefix=f".{change.file.name}.")
        fresh = Path(name)
        try:
            with os.fdopen(handle, "w", encoding="utf-8", newline="") as out:
                out.write(change.after)
            if backup is not None:
                shutil.copymode(change.file, fresh)
            fresh.replace(change.file)
        except BaseException:
            fresh.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise InputRefused(
            f"{change.file} cannot be written: {error.strerror or error}. Nothing was changed."
        ) from None
    return backup


def _backup(file: Path) -> Path:
    """A copy beside the file, under a name that none has yet."""
    number = 1
    while (backup := file.with_name(f"{file.name}.bak{number}")).exists():
        number += 1
    shutil.copy2(file, backup)
    return backup


def _told(client: Client, change: _Change, backup: Path | None, *, as_json: bool) -> Exit:
    if as_json:
        told = {"client": client.value, "file": str(change.file), "changed": change.changes}
        print_json(told | ({"backup": str(backup)} if backup else {}))
    elif not change.changes:
        remark(f"[good]✓[/] {escape(str(change.file))} says so already.")
    else:
        kept = f" [dim]as it was: {escape(str(backup))}[/]" if backup else ""
        remark(f"[good]✓[/] written to {escape(str(change.file))}.{kept}")
        remark(f"Restart {TITLES[client]}, or reload its MCP servers.")
    return Exit.DONE
