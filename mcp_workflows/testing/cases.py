"""Tests as things to run: one after the other by the command line, one by one from pytest, or written in Python."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeAlias

from mcp_workflows.definition.expressions import ExpressionInvalid
from mcp_workflows.definition.input_schema import validate_input
from mcp_workflows.definition.loader import load_file
from mcp_workflows.definition.program import Definition, Json
from mcp_workflows.errors import DefinitionInvalid, InputRefused, Problem
from mcp_workflows.testing import events
from mcp_workflows.testing.answers import Cast, Script, Scripted
from mcp_workflows.testing.expectations import Mismatch, mismatches
from mcp_workflows.testing.filters import Filters
from mcp_workflows.testing.model import Answer, Cancel, Resume, Signal, Test
from mcp_workflows.testing.outline import Outline
from mcp_workflows.testing.reading import Suite, is_test_file, read_tests
from mcp_workflows.testing.requests import variables_of
from mcp_workflows.testing.result import Call, Result, TestBroken, refusal
from mcp_workflows.testing.services import Services
from mcp_workflows.testing.simulation import START, Planned, Simulation

AnswerLike: TypeAlias = Mapping[str, Any]
"""As in a test file: ``{"output": …}``, ``{"status": 422, "body": …}``, ``{"error": "timeout"}``."""
AnswersLike: TypeAlias = AnswerLike | Sequence[AnswerLike] | Callable[[Call], AnswerLike]


@dataclass(frozen=True, slots=True)
class Difference:
    """Something that is not as a test says, at its place in the file. ``lines`` begin with ``- ``, ``+ `` or blanks."""

    file: str
    line: int
    column: int
    where: str
    lines: tuple[str, ...]
    expected: Json = None
    got: Json = None

    def __str__(self) -> str:
        return "\n".join([f"{self.file}:{self.line}:{self.column} {self.where}", *(f"  {one}" for one in self.lines)])


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of one test. ``result`` is missing where the test could not go on."""

    differences: tuple[Difference, ...]
    result: Result | None

    @property
    def passed(self) -> bool:
        return not self.differences


@dataclass(frozen=True, eq=False)
class Case:
    """One test of a file."""

    suite: Suite
    number: int

    @property
    def test(self) -> Test:
        return self.suite.form.tests[self.number]

    @property
    def name(self) -> str:
        return self.test.name

    @property
    def file(self) -> str:
        return str(self.suite.file)

    @property
    def line(self) -> int:
        return self._place(("tests", self.number))[0]

    def __str__(self) -> str:
        return f"{self.suite.outline.definition.name}: {self.name}"

    def run(self) -> Verdict:
        """Run it. Raises nothing for what the test or the definition says."""
        try:
            result = self._simulate()
        except TestBroken as broken:
            return Verdict((self._broken(str(broken)),), None)
        found = [self._difference(one) for one in mismatches(self.test.expect, result, self.suite.outline)]
        in_order = sorted([*found, *self._never_given(result)], key=lambda one: (one.line, one.column))
        return Verdict(tuple(in_order), result)

    def check(self) -> None:
        """Run it; raises ``AssertionError`` with every difference."""
        verdict = self.run()
        if not verdict.passed:
            raise AssertionError("\n".join([f"{self}", *map(str, verdict.differences)]))

    def _simulate(self) -> Result:
        test, suite = self.test, self.suite
        cast = Cast(suite.scripts[self.number])
        variables = variables_of(suite.outline.definition, {**suite.form.vars, **test.vars})
        planned = [one for _, one in self._planned()]
        return _run(suite.outline, test.input, cast, planned, variables, test.starts_at or START)

    def _planned(self) -> list[tuple[tuple[str | int, ...], Planned]]:
        """What happens from outside, and where the test says so."""
        test = self.test
        planned: list[tuple[tuple[str | int, ...], Planned]] = []
        for number, given in enumerate(test.signals):
            if given.step is None:
                planned.append((("signals", number), events.signal(given)))
            else:
                planned.append((("signals", number), events.decision(given, self.suite.outline.key(given.step))))
        resumes = test.resume if isinstance(test.resume, list) else [test.resume] if test.resume is not None else []
        planned += [(("resume", number), events.resume(given)) for number, given in enumerate(resumes)]
        if test.cancel is not None:
            planned.append((("cancel",), events.cancel(test.cancel)))
        return planned

    def _never_given(self, result: Result) -> Iterable[Difference]:
        planned = self._planned()
        for position in result.left_over:
            path = planned[position][0]
            line, column = self._place(("tests", self.number, *path))
            message = f"it never took place: the run was never ready for it, and is {result.status}"
            yield Difference(self.file, line, column, f"{path[0]}", (message,))

    def _difference(self, found: Mismatch) -> Difference:
        line, column = self._place(("tests", self.number, "expect", *found.path))
        got = found.got if _is_json(found.got) else None
        return Difference(self.file, line, column, found.where, tuple(found.lines()), found.expected, got)

    def _broken(self, message: str) -> Difference:
        line, column = self._place(("tests", self.number, "name"))
        return Difference(self.file, line, column, "cannot go on", (message,))

    def _place(self, path: tuple[str | int, ...]) -> tuple[int, int]:
        """Of the value, or of the key where the value stands below it."""
        document = self.suite.document
        node = document.nearest(path)
        return document.source.place(node.start)


def _is_json(value: Json) -> bool:
    return isinstance(value, dict | list | str | int | float | bool)


@dataclass(frozen=True, slots=True)
class Collected:
    """All tests below some paths, and what is wrong with files."""

    cases: tuple[Case, ...]
    problems: tuple[Problem, ...]


def collect(*paths: Path | str) -> Collected:
    """Test files, those beside definition files, and those in folders. Never raises for what a file holds."""
    found: list[Case] = []
    problems: list[Problem] = []
    for file in _files([Path(path) for path in paths], problems):
        try:
            suite = read_tests(file)
        except DefinitionInvalid as invalid:
            problems += [problem for problem in invalid.problems if problem not in problems]
        else:
            found += [Case(suite, number) for number in range(len(suite.form.tests))]
    return Collected(tuple(found), tuple(problems))


def cases(*paths: Path | str) -> list[Case]:
    """For ``pytest.mark.parametrize("case", cases("definitions"), ids=str)``. Raises ``DefinitionInvalid``."""
    collected = collect(*paths)
    if collected.problems:
        raise DefinitionInvalid(collected.problems)
    return list(collected.cases)


def simulate(
    definition: Definition | Path | str,
    input: Mapping[str, Json] | None = None,  # noqa: A002  # the language's word
    *,
    answers: Mapping[str, AnswersLike] | None = None,
    signals: Sequence[Mapping[str, Any]] = (),
    resume: Sequence[Mapping[str, Any]] = (),
    cancel: Mapping[str, Any] | None = None,
    vars: Mapping[str, Json] | None = None,  # noqa: A002
    starts_at: datetime = START,
) -> Result:
    """Run a definition without services, as a test file's test does; the arguments have the same shape.

    An answer may also be a function of the ``Call``. Raises ``TestBroken``, an ``AssertionError``, where there is no
    answer for a step, and ``ValueError`` for arguments that make no sense.
    """
    loaded = definition if isinstance(definition, Definition) else load_file(Path(definition))
    outline = Outline(loaded)
    for name in set(vars or {}) - set(loaded.vars):
        raise ValueError(f'"{name}" is no variable of {loaded.name}')
    variables = variables_of(loaded, vars or {})
    scripts = [_script(outline, key, given) for key, given in (answers or {}).items()]
    planned: list[Planned] = []
    for one in signals:
        given = Signal.model_validate(one)
        planned.append(events.signal(given) if given.step is None else events.decision(given, outline.key(given.step)))
    planned += [events.resume(Resume.model_validate(one)) for one in resume]
    if cancel is not None:
        planned.append(events.cancel(Cancel.model_validate(cancel)))
    return _run(outline, dict(input or {}), Cast(scripts), planned, variables, starts_at)


def _script(outline: Outline, text: str, given: AnswersLike) -> Script:
    key = outline.key(text)
    if callable(given):
        return Script(key, function=lambda call: _scripted(given(call)))
    if isinstance(given, Mapping):
        return Script(key, [_scripted(given)], repeats=True)
    return Script(key, [_scripted(one) for one in given])


def _scripted(given: AnswerLike) -> Scripted:
    try:
        return Scripted.of(Answer.model_validate(given))
    except ExpressionInvalid as invalid:
        raise ValueError(f"{invalid.message}, in an answer") from None


def _run(
    outline: Outline,
    given: Json,
    cast: Cast,
    planned: Sequence[Planned],
    variables: Mapping[str, Json],
    starts_at: datetime,
) -> Result:
    definition = outline.definition
    try:
        value = validate_input(definition, given)
    except InputRefused as refused:
        return refusal(str(refused))
    with Filters() as filters:
        services = Services(outline, cast, filters, starts_at)
        return Simulation(outline, value, variables, services, planned, starts_at).to_the_end()


def _files(paths: Sequence[Path], problems: list[Problem]) -> list[Path]:
    """The test files that ``paths`` mean, each once, in order."""
    found: dict[Path, Path] = {}
    for path in paths:
        if path.is_dir():
            files = sorted(
                file for file in path.rglob("*") if file.is_file() and is_test_file(file) and _shown(file, path)
            )
        elif not path.exists():
            problems.append(Problem(str(path), 1, 1, "file", "there is no such file or folder"))
            files = []
        elif is_test_file(path):
            files = [path]
        else:
            beside = (path.with_name(f"{path.stem}.test{suffix}") for suffix in (".yaml", ".yml", ".json"))
            files = [file for file in beside if file.is_file()]
        for file in files:
            found.setdefault(file.resolve(), file)
    return list(found.values())


def _shown(file: Path, root: Path) -> bool:
    return not any(part.startswith(".") for part in file.relative_to(root).parts)
