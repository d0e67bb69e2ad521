"""The way in: files, folders and stored texts become definitions, or are refused with all that is wrong with them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from mcp_workflows.definition.advice import advice
from mcp_workflows.definition.children import Parent, checked_children
from mcp_workflows.definition.compiler import Compiled, compile_document
from mcp_workflows.definition.model import Workflow
from mcp_workflows.definition.program import Definition
from mcp_workflows.definition.text.document import decode, read_document
from mcp_workflows.definition.text.nodes import MAX_CHARACTERS
from mcp_workflows.errors import DefinitionInvalid, Problem

SUFFIXES = (".yaml", ".yml", ".json")
TEST_SUFFIXES = tuple(f".test{suffix}" for suffix in SUFFIXES)
"""Tests of definitions lie beside them and are not definitions."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a set of paths holds. A definition that has problems is not among ``definitions``."""

    definitions: Mapping[str, Definition]
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...]


def load_text(text: str, source: str) -> Definition:
    """A definition from YAML or JSON text; ``source`` is what messages call it. Raises ``DefinitionInvalid``."""
    return _compile(text, source)[0].definition


def load_file(path: Path) -> Definition:
    """A definition from a file. Raises ``DefinitionInvalid`` with every problem of the file."""
    return _load(path)[0].definition


def load_paths(paths: Sequence[Path], last: Mapping[str, Definition] = MappingProxyType({})) -> Loaded:
    """All definitions in files and, recursively, folders. Never raises for what a file holds or cannot be read as.

    ``last`` is what was loaded before: where a file is broken now, others may still start its last good version.
    """
    parents: dict[str, Parent] = {}
    advised: dict[str, tuple[Problem, ...]] = {}
    broken: dict[str, str] = {}
    problems: list[Problem] = []
    for path in _files(paths, problems):
        try:
            compiled, warnings = _load(path)
        except DefinitionInvalid as invalid:
            problems.extend(invalid.problems)
            name = _name_in(path)
            broken[name if name is not None and name not in broken else str(path)] = str(path)
            continue
        definition = compiled.definition
        first = parents.get(definition.name)
        if first is not None:
            line, column = _place_of_name(path)
            message = f'"{definition.name}" is already the name of the workflow in {first.definition.source}'
            problems.append(Problem(str(path), line, column, "name", message))
            continue
        parents[definition.name] = Parent(definition, compiled.mentions)
        advised[definition.name] = warnings
    definitions, unfit = checked_children(parents, broken, last)
    warnings = [warning for name in definitions for warning in advised[name]]
    return Loaded(definitions, tuple(sorted([*problems, *unfit])), tuple(sorted(warnings)))


def warnings_of(path: Path) -> tuple[Problem, ...]:
    """What is probably not meant in a file that is valid. Raises ``DefinitionInvalid``."""
    return _load(path)[1]


def json_schema() -> dict[str, Any]:
    """The JSON Schema of definitions, for editors."""
    schema = Workflow.model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _load(path: Path) -> tuple[Compiled, tuple[Problem, ...]]:
    return _compile(read_text(path), str(path))


def _compile(text: str, source: str) -> tuple[Compiled, tuple[Problem, ...]]:
    document = read_document(text, source)
    compiled = compile_document(document)
    return compiled, advice(compiled, document)


def read_text(path: Path) -> str:
    """A file's text. Raises ``DefinitionInvalid`` where it cannot be read, is too large or is not UTF-8."""
    try:
        size = path.stat().st_size
        if size > 4 * MAX_CHARACTERS:
            raise DefinitionInvalid([Problem(str(path), 1, 1, "file", f"larger than 1 MiB ({size:,} bytes)")])
        return decode(path.read_bytes(), str(path))
    except OSError as error:
        reason = error.strerror or str(error)
        raise DefinitionInvalid([Problem(str(path), 1, 1, "file", f"cannot be read: {reason}")]) from None


def _files(paths: Sequence[Path], problems: list[Problem]) -> Iterator[Path]:
    """The definition files below ``paths``, each once, in order."""
    seen: set[Path] = set()
    for path in paths:
        if path.is_dir():
            found = sorted(file for file in path.rglob("*") if _is_definition(file, path))
        elif path.exists():
            found = [path]
        else:
            problems.append(Problem(str(path), 1, 1, "file", "there is no such file or folder"))
            found = []
        for file in found:
            if file.resolve() not in seen:
                seen.add(file.resolve())
                yield file


def _is_definition(file: Path, root: Path) -> bool:
    hidden = any(part.startswith(".") for part in file.relative_to(root).parts)
    return file.is_file() and not hidden and file.name.endswith(SUFFIXES) and not file.name.endswith(TEST_SUFFIXES)


def _name_in(path: Path) -> str | None:
    """What a file that is refused calls its workflow, as far as that can be read."""
    try:
        name = read_document(read_text(path), str(path)).value(("name",))
    except DefinitionInvalid:
        return None
    return name if isinstance(name, str) else None


def _place_of_name(path: Path) -> tuple[int, int]:
    document = read_document(read_text(path), str(path))
    return document.source.place(document.nearest(("name",)).start)
