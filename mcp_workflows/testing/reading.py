"""From a test file to tests that can run: its form, the definition it is about, and the names it uses, all with places."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel, ValidationError

from mcp_workflows.definition.expressions import ExpressionInvalid, compile_text
from mcp_workflows.definition.loader import SUFFIXES, TEST_SUFFIXES, load_file, read_text
from mcp_workflows.definition.phrases import describe, did_you_mean
from mcp_workflows.definition.program import (
    ApprovalWork,
    HttpWork,
    JqWork,
    McpToolWork,
    PythonWork,
    SignalWork,
    WorkflowWork,
)
from mcp_workflows.definition.text.document import Document, read_document
from mcp_workflows.definition.text.document import Path as Place
from mcp_workflows.definition.text.nodes import Map, Node, Scalar, Seq, to_json
from mcp_workflows.errors import DefinitionInvalid, Problem, SettingsInvalid
from mcp_workflows.testing import model
from mcp_workflows.testing.answers import ROOTS, Script, Scripted
from mcp_workflows.testing.model import Answer, Test, TestFile
from mcp_workflows.testing.outline import Key, Outline, UnknownStep
from mcp_workflows.testing.requests import variables_of

ATTEMPTED = (HttpWork, PythonWork, McpToolWork, JqWork, WorkflowWork)
"""Kinds of work that a test answers for."""

_EXPECTED = {
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "dict_type": "a mapping",
    "list_type": "a list",
    "int_type": "a whole number",
    "bool_type": "true or false",
    "string_type": "a text",
    "literal_error": "true",
}
_HELD = {
    "expect": model.Expect,
    "cancel": model.Cancel,
    "resume": model.Resume,
    "signals": model.Signal,
    "calls": model.ExpectedCall,
    "tests": Test,
    "took": model.TimeTaken,
}


@dataclass(frozen=True, slots=True)
class Suite:
    """A test file that was read."""

    file: Path
    document: Document
    form: TestFile
    outline: Outline
    scripts: Sequence[Sequence[Script]]
    """Of each test, those that all tests share first."""


def is_test_file(path: Path) -> bool:
    return path.name.endswith(TEST_SUFFIXES)


def read_tests(path: Path) -> Suite:
    """Raises ``DefinitionInvalid`` with every problem of the file, or of the definition that it is about."""
    what = "tests of a definition are a mapping with tests and so on"
    document = read_document(read_text(path), str(path), what=what)
    form = _form(document)
    definition = load_file(_definition_of(path, form, document))
    reader = _Reader(document, Outline(definition))
    shared = reader.scripts(form.steps, ("steps",))
    own = [reader.scripts(test.steps, ("tests", number, "steps"), own=True) for number, test in enumerate(form.tests)]
    reader.check_vars(form.vars, ("vars",))
    for number, test in enumerate(form.tests):
        reader.check(test, ("tests", number))
    reader.check_names(form.tests)
    if document.problems:
        raise DefinitionInvalid(document.problems)
    return Suite(path, document, form, reader.outline, [[*shared, *scripts] for scripts in own])


def _definition_of(path: Path, form: TestFile, document: Document) -> Path:
    if form.definition is not None:
        file = path.parent / form.definition
        if not file.is_file():
            node = document.nearest(("definition",))
            raise DefinitionInvalid([document.problem(node, "file", f'there is no file "{form.definition}" here')])
        return file
    stem = next(path.name.removesuffix(suffix) for suffix in TEST_SUFFIXES if path.name.endswith(suffix))
    for suffix in SUFFIXES:
        file = path.with_name(stem + suffix)
        if file.is_file():
            return file
    message = f"there is no {stem}.yaml beside it; say which file it tests: definition: FILE"
    raise DefinitionInvalid([Problem(str(path), 1, 1, "file", message)])


def _form(document: Document) -> TestFile:
    try:
        form = TestFile.model_validate(to_json(document.root))
    except ValidationError as invalid:
        for error in invalid.errors(include_url=False):
            _report(document, cast("dict[str, Any]", error))
        raise DefinitionInvalid(document.problems) from None
    if document.problems:
        raise DefinitionInvalid(document.problems)
    return form


def _report(document: Document, error: dict[str, Any]) -> None:
    """One error of Pydantic's, as a problem."""
    location: tuple[int | str, ...] = error["loc"]
    path = tuple(part for part in location if not (isinstance(part, str) and re.fullmatch(r"<\w+>|\[key\]", part)))
    kind: str = error["type"]
    context: dict[str, Any] = error.get("ctx") or {}
    node = document.nearest(path)
    if location and (location[-1] == "[key]" or (isinstance(node, Scalar) and node.start == node.end)):
        node = document.key(path) or node
    if kind == "refused":
        document.refuse(node, str(context["code"]), str(context["message"]))
    elif kind == "extra_forbidden":
        name = str(path[-1])
        hint = did_you_mean(name, _keys(_model_at(path[:-1])))
        message = f'"{name}" is not known here.{hint}'.removesuffix("." if not hint else "")
        document.refuse(document.key(path) or node, "unknown_key", message)
    elif kind == "missing":
        document.refuse(document.key(path[:-1]) or document.nearest(path[:-1]), "missing", f'"{path[-1]}" is missing')
    elif kind in _EXPECTED:
        value = document.value(path)
        found = "nothing" if value is None else describe(value)
        document.refuse(node, "value", f"expected {_EXPECTED[kind]}, found {found}")
    elif kind == "too_short":
        document.refuse(node, "value", "expected a list with something in it")
    else:
        document.refuse(node, "value", str(error["msg"]))


def _model_at(path: Place) -> type[BaseModel]:
    """What stands at ``path``."""
    names = [str(part) for part in path if not isinstance(part, int)]
    if not names:
        return TestFile
    expected = "expect" in names
    if names[-1] == "error":
        return model.ExpectedError if expected else model.ErrorAnswer
    if len(names) > 1 and names[-2] == "steps":
        return model.ExpectedStep if expected else Answer
    return _HELD.get(names[-1], TestFile)


def _keys(of: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in of.model_fields.items()]


@dataclass
class _Reader:
    """Checks names, and reports what is wrong with them."""

    document: Document
    outline: Outline

    def scripts(self, steps: dict[str, Answer | list[Answer]], place: Place, *, own: bool = False) -> list[Script]:
        """The answers of one ``steps``. What is wrong with one is reported, and it is left out."""
        return list(self._scripts(steps, place, own=own))

    def _scripts(self, steps: dict[str, Answer | list[Answer]], place: Place, *, own: bool) -> Iterator[Script]:
        named: dict[str, str] = {}
        for text, given in steps.items():
            path = (*place, text)
            key = self.key(text, path, named=True)
            if key is None or not self._answerable(key, path):
                continue
            if (other := named.setdefault(key.matcher.pattern, text)) != text:
                message = f'"{text}" is answered already, as "{other}"'
                self.document.refuse(self.document.key(path) or self.document.root, "step", message)
            several = isinstance(given, list)
            found: list[Scripted] = []
            for number, answer in enumerate(given if several else [given]):
                here = (*path, number) if several else path
                self._check_kind(answer, key, here)
                if self._compiles(self.document.nearest(here)):
                    found.append(Scripted.of(answer))
            if found:
                yield Script(key, found, repeats=not several, own=own)

    def key(self, text: str, path: Place, *, named: bool = False) -> Key | None:
        """What ``text`` names; ``named``: it is the key at ``path``, not the value."""
        try:
            return self.outline.key(text)
        except UnknownStep as unknown:
            node = self.document.key(path) if named else None
            self.document.refuse(node or self.document.nearest(path), "step", str(unknown))
            return None

    def check(self, test: Test, place: Place) -> None:
        self.check_vars(test.vars, (*place, "vars"))
        for number, given in enumerate(test.signals):
            self._check_signal(given, (*place, "signals", number))
        expect, here = test.expect, (*place, "expect")
        if expect.error is not None and expect.error.step is not None:
            self.key(expect.error.step, (*here, "error", "step"))
        for number, call in enumerate(expect.calls or ()):
            text = call.step if isinstance(call, model.ExpectedCall) else call
            at = ("step",) if isinstance(call, model.ExpectedCall) else ()
            self.key(text, (*here, "calls", number, *at))
        for name in ("not_called", "undone", "not_undone", "waiting_for"):
            for number, text in enumerate(getattr(expect, name) or ()):
                self.key(text, (*here, name, number))
        for text, step in expect.steps.items():
            if not self.outline.is_list(text):
                self.key(text, (*here, "steps", text), named=True)
            if step.error is not None and step.error.step is not None:
                self.key(step.error.step, (*here, "steps", text, "error", "step"))

    def check_vars(self, given: dict[str, Any], place: Place) -> None:
        known = self.outline.definition.vars
        for name, value in given.items():
            if name not in known:
                hint = did_you_mean(name, known)
                message = f'"{name}" is no variable of {self.outline.definition.name}{"." if hint else ""}{hint}'
                self.document.refuse(self.document.key((*place, name)) or self.document.root, "step", message)
                continue
            try:
                variables_of(self.outline.definition, {name: value})
            except SettingsInvalid as invalid:
                self._refuse((*place, name), "value", str(invalid).removeprefix("MCP_WORKFLOWS_VAR_"))

    def check_names(self, tests: Sequence[Test]) -> None:
        seen: set[str] = set()
        for number, test in enumerate(tests):
            if test.name in seen:
                self._refuse(("tests", number, "name"), "name", f'there is a test "{test.name}" already')
            seen.add(test.name)

    def _answerable(self, key: Key, path: Place) -> bool:
        work = self.outline.steps[key.pattern].work
        if isinstance(work, ATTEMPTED):
            return True
        if isinstance(work, SignalWork | ApprovalWork):
            message = f'"{key.text}" waits for an answer: give it under signals'
        else:
            kind = self.outline.steps[key.pattern].kind
            message = f'"{key.text}" is a {kind} step: it is done as it is, and needs no answer'
        self.document.refuse(self.document.key(path) or self.document.root, "step", message)
        return False

    def _compiles(self, node: Node) -> bool:
        """Whether every text below ``node`` does. What does not is reported."""
        match node:
            case Map():
                parts = [entry.value for entry in node.entries.values()]
            case Seq():
                parts = node.items
            case Scalar():
                try:
                    compile_text(node.value if isinstance(node.value, str) else "", ROOTS)
                except ExpressionInvalid as invalid:
                    self.document.refuse(node, invalid.code, invalid.message, invalid.offset)
                    return False
                return True
        compiled = [self._compiles(part) for part in parts]  # all of them: each has its own problems
        return all(compiled)

    def _check_kind(self, answer: Answer, key: Key, place: Place) -> None:
        step = self.outline.steps[key.pattern]
        if answer.status is not None and not isinstance(step.work, HttpWork):
            self._refuse((*place, "status"), "value", f"a {step.kind} step has no status; write output or error")

    def _check_signal(self, given: model.Signal, place: Place) -> None:
        if given.step is not None:
            key = self.key(given.step, (*place, "step"))
            if key is not None and not isinstance(self.outline.steps[key.pattern].work, ApprovalWork):
                self._refuse((*place, "step"), "step", f'"{given.step}" is no approval')
            return
        works = (step.work for step in self.outline.steps.values())
        names = {work.name for work in works if isinstance(work, SignalWork)}
        if given.name not in names:
            hint = did_you_mean(str(given.name), names)
            message = f'no step waits for a signal "{given.name}"{"." if hint else ""}{hint}'
            self._refuse((*place, "name"), "step", message)

    def _refuse(self, path: Place, code: str, message: str) -> None:
        self.document.refuse(self.document.nearest(path), code, message)
