"""Definitions that nobody serves yet: checked as the loader would, and tested without services, in a folder thrown away.

Tests run in a process of their own that can be ended: what a draft computes may take for ever. It knows no secret.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mcp_workflows.definition.loader import load_paths, load_text
from mcp_workflows.definition.program import Definition
from mcp_workflows.definition.text.document import read_document
from mcp_workflows.errors import DefinitionInvalid, InputRefused, Problem

SECONDS = 30.0
_AT_ONCE = 2
_FILE, _TESTS = "draft.yaml", "draft.test.yaml"
_KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "SYSTEMROOT", "TEMP", "TMP", "TMPDIR")


@dataclass(frozen=True, slots=True)
class Checked:
    """What the loader says of a draft. ``definition`` is missing where there are problems."""

    definition: Definition | None
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...] = ()


class Drafts:
    """Checks and tests drafts among the workflows that are served, which they may start as children."""

    def __init__(self) -> None:
        self._running = asyncio.Semaphore(_AT_ONCE)

    async def check(self, text: str, served: Mapping[str, Definition]) -> Checked:
        return await asyncio.to_thread(_check, text, served)

    async def test(self, text: str, tests: str, served: Mapping[str, Definition]) -> dict[str, Any]:
        """What ``mcp-workflows test --json`` says. Raises ``InputRefused``."""
        _refuse_other_files(tests)
        async with self._running:
            with TemporaryDirectory(prefix="mcp-workflows-") as folder:
                await asyncio.to_thread(_write, Path(folder), text, served)
                await asyncio.to_thread((Path(folder) / _TESTS).write_text, tests, "utf-8")
                return await _run(Path(folder))


def _check(text: str, served: Mapping[str, Definition]) -> Checked:
    with TemporaryDirectory(prefix="mcp-workflows-") as folder:
        _write(Path(folder), text, served)
        file = Path(folder) / _FILE
        loaded = load_paths([Path(folder)])
        problems = tuple(one for one in loaded.problems if one.file == str(file))
        warnings = tuple(one for one in loaded.warnings if one.file == str(file))
        own = [one for one in loaded.definitions.values() if one.source == str(file)]
        return Checked(own[0] if own and not problems else None, problems, warnings)


def _write(folder: Path, text: str, served: Mapping[str, Definition]) -> None:
    """The draft, and the workflows that it and its children start."""
    (folder / _FILE).write_text(text, "utf-8")
    try:
        draft = load_text(text, _FILE)
    except DefinitionInvalid:
        return
    names, written = list(draft.children), {draft.name}
    while names:
        name = names.pop()
        if name in served and name not in written:
            written.add(name)
            (folder / f"{name}.json").write_text(served[name].content, "utf-8")
            names += served[name].children


def _refuse_other_files(tests: str) -> None:
    """Tests may name the file that they are about; here they could only name one that is none of theirs."""
    try:
        named = read_document(tests, "tests").value(("definition",))
    except DefinitionInvalid:
        return  # whoever runs them says what is wrong
    if named is not None:
        raise InputRefused("tests: leave definition out; the tests are about the definition that is given with them.")


async def _run(folder: Path) -> dict[str, Any]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "mcp_workflows", "test", _TESTS, "--json",
        cwd=folder, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env={name: os.environ[name] for name in _KEPT if name in os.environ},
    )  # fmt: skip
    try:
        async with asyncio.timeout(SECONDS):
            out, complaint = await process.communicate()
    except TimeoutError:
        raise InputRefused(f"The tests did not end within {SECONDS:.0f} s.") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    try:
        return json.loads(out)
    except ValueError:
        raise InputRefused(f"The tests cannot be run: {complaint.decode('utf-8', 'replace')[:400]}") from None
