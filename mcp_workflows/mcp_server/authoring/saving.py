"""Writing a definition where the operator allows it: into one folder, whole or not at all, never over what was not meant."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import NamedTemporaryFile

from mcp_workflows.definition.loader import SUFFIXES
from mcp_workflows.definition.program import Definition
from mcp_workflows.errors import InputRefused


def save(folder: Path, definition: Definition, text: str, *, served: Definition | None, replace: bool) -> Path:
    """The file, named like the workflow. ``served``: what has that name now. Raises ``InputRefused``; then nothing changed."""
    target = folder / f"{definition.name}.yaml"  # a workflow's name has no character that leads out of a folder
    if not folder.is_dir():
        raise InputRefused(f"Not saved: the folder {folder} is not there. Tell the user.")
    if served is not None and not _same(Path(served.source), target):
        raise InputRefused(f'Not saved: "{definition.name}" is the name of the workflow in {served.source}.')
    for suffix in SUFFIXES:
        other = target.with_suffix(suffix)
        if other != target and os.path.lexists(other):
            raise InputRefused(f"Not saved: {other} is there already.")
    if os.path.lexists(target) and not replace:
        raise InputRefused(
            f'Not saved: {target} is there already. Set replace to true if "{definition.name}" is to be changed.'
        )
    if target.is_symlink() or target.is_dir():
        raise InputRefused(f"Not saved: {target} is no file of its own.")
    try:
        _write(target, text if text.endswith("\n") else f"{text}\n")
    except OSError as error:
        raise InputRefused(f"Not saved: {target} cannot be written: {error.strerror or error}.") from None
    return target


def _write(target: Path, text: str) -> None:
    """A crash leaves the old file or the new one. The loader passes over names that begin with a dot."""
    with NamedTemporaryFile(
        "w", encoding="utf-8", dir=target.parent, prefix=f".{target.name}.", suffix=".new", delete=False
    ) as file:
        try:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
            Path(file.name).chmod(0o644)
            Path(file.name).replace(target)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise


def _same(one: Path, other: Path) -> bool:
    return one.resolve() == other.resolve()
