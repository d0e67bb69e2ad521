"""What a test expects, compared with what came of the run: every difference, each at its place in the test."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any, cast

from mcp_workflows.definition.program import Json
from mcp_workflows.definition.violations import path_of
from mcp_workflows.testing.model import Expect, ExpectedCall, ExpectedError, ExpectedStep, TimeTaken
from mcp_workflows.testing.outline import Outline, UnknownStep
from mcp_workflows.testing.result import Call, Result, StepResult

Path = tuple[str | int, ...]


class _Absent:
    def __repr__(self) -> str:
        return "nothing"


ABSENT = _Absent()
"""Got where there is nothing at all."""

_WIDTH = 100


@dataclass(frozen=True, slots=True)
class Mismatch:
    """One difference. ``path`` leads to the expectation, from ``expect``."""

    path: Path
    expected: Json
    got: Json
    note: str | None = None

    @property
    def where(self) -> str:
        return path_of(self.path)

    def lines(self) -> list[str]:
        """``-`` is expected and missing, ``+`` is there instead."""
        expected, got = _lines_of(self.expected), _lines_of(self.got)
        if len(expected) == len(got) == 1:
            told = [f"- {expected[0]}", f"+ {got[0]}"]
        else:
            told = [line.rstrip("\n") for line in difflib.unified_diff(expected, got, lineterm="", n=2)][2:]
            told = [f"{line[0]} {line[1:]}" for line in told if not line.startswith("@@")]
        return [*told, *([f"  {self.note}"] if self.note else [])]


def mismatches(expect: Expect, result: Result, outline: Outline) -> list[Mismatch]:
    """All differences, in the order of the expectations' kinds."""
    if "refused" in expect.model_fields_set or result.refused is not None:
        return list(_refused(expect, result))
    given = expect.model_fields_set
    found = list(_status(expect, result))
    if "output" in given and (result.status == "completed" or not found):
        found += subset(expect.output, result.output, ("output",))
    if expect.error is not None:
        found += _error(expect.error, result.error, ("error",), outline)
    found += _calls(expect, result, outline)
    found += _steps(expect.steps, result, outline)
    found += _undoing(expect, result, outline)
    if expect.waiting_for is not None:
        found += _paths(expect.waiting_for, result.waiting_for, ("waiting_for",), outline, ordered=False)
    if expect.took is not None:
        found += _took(expect.took, result.took)
    return found


def subset(expected: Json, got: Json, path: Path) -> Iterator[Mismatch]:
    """Of mappings the keys that are given; lists whole, element by element; null is also nothing."""
    match expected, got:
        case (dict(), dict()):
            for key, part in cast("dict[str, Json]", expected).items():
                yield from subset(part, cast("dict[str, Json]", got).get(key, ABSENT), (*path, key))
        case (list(), list()) if len(cast("list[Json]", expected)) == len(cast("list[Json]", got)):
            pairs = zip(cast("list[Json]", expected), cast("list[Json]", got), strict=True)
            for index, (part, other) in enumerate(pairs):
                yield from subset(part, other, (*path, index))
        case _ if not _same(expected, got):
            yield Mismatch(path, expected, got)
        case _:
            pass


def _same(expected: Json, got: Json) -> bool:
    if expected is None:
        return got is None or got is ABSENT
    if isinstance(expected, bool) or isinstance(got, bool):
        return expected is got
    if isinstance(expected, float | int) and isinstance(got, float | int):
        return math.isclose(expected, got, rel_tol=1e-9, abs_tol=1e-12)
    return bool(expected == got)


def _refused(expect: Expect, result: Result) -> Iterator[Mismatch]:
    wanted = expect.refused
    if wanted is None:
        yield Mismatch(("status",), _wanted_status(expect) or "a run", f"no run was started: {result.refused}")
    elif result.refused is None:
        yield Mismatch(("refused",), wanted, f"the run was started, and is {result.status}")
    elif wanted not in result.refused:
        yield Mismatch(("refused",), wanted, result.refused)


def _wanted_status(expect: Expect) -> str | None:
    if expect.status is not None:
        return expect.status
    return None if expect.error is not None else "completed"


def _status(expect: Expect, result: Result) -> Iterator[Mismatch]:
    wanted = _wanted_status(expect)
    if wanted is None or wanted == result.status:
        return
    note = None
    if result.error is not None:
        where = f" at {result.error['step']}" if "step" in result.error else ""
        note = f"its error is {result.error['code']}{where}: {result.error['message']}"
    elif result.waiting_for:
        note = f"it waits for {', '.join(result.waiting_for)}"
    yield Mismatch(("status",), wanted, result.status, note)


def _error(expected: ExpectedError, got: Mapping[str, Any] | None, path: Path, outline: Outline) -> Iterator[Mismatch]:
    wanted = _given(expected)
    if got is None:
        yield Mismatch(path, wanted, ABSENT)
        return
    message, step = wanted.pop("message", None), wanted.pop("step", None)
    yield from subset(wanted, dict(got), path)
    if step is not None and not outline.key(step).matches(str(got.get("step", ""))):
        yield Mismatch((*path, "step"), step, got.get("step", ABSENT))
    if message is not None and message not in str(got.get("message")):
        yield Mismatch((*path, "message"), message, got.get("message", ABSENT))


def _calls(expect: Expect, result: Result, outline: Outline) -> Iterator[Mismatch]:
    if expect.calls == [] and result.calls:
        yield Mismatch(("calls",), [], result.called)
    position = 0
    for index, one in enumerate(expect.calls or ()):
        expected = one if isinstance(one, ExpectedCall) else ExpectedCall(step=one)
        rest = result.calls[position:]
        found = next((at for at, call in enumerate(rest) if _is_call(expected, call, outline)), None)
        if found is not None:
            position += found + 1
            continue
        yield from _no_call(expected, rest, ("calls", index), result, outline)
    for index, text in enumerate(expect.not_called or ()):
        key = outline.key(text)
        made = [call.step for call in result.calls if key.matches(call.step)]
        if made:
            yield Mismatch(("not_called", index), "no call", made)


def _is_call(expected: ExpectedCall, call: Call, outline: Outline) -> bool:
    return (
        outline.key(expected.step).matches(call.step)
        and expected.attempt in (None, call.attempt)
        and not any(subset(expected.request or {}, call.request or {}, ()))
    )


def _no_call(
    expected: ExpectedCall, rest: Sequence[Call], path: Path, result: Result, outline: Outline
) -> Iterator[Mismatch]:
    """The nearest call there is, and in what it differs; or what was called at all."""
    key = outline.key(expected.step)
    near = [call for call in rest if key.matches(call.step)]
    numbered = [call for call in near if expected.attempt in (None, call.attempt)]
    if numbered:
        best = min(numbered, key=lambda call: sum(1 for _ in subset(expected.request or {}, call.request or {}, ())))
        yield from subset(expected.request or {}, best.request or {}, (*path, "request"))
    else:
        wanted = expected.step if expected.attempt is None else f"{expected.step}, attempt {expected.attempt}"
        yield Mismatch(path, wanted, ABSENT, f"made were: {', '.join(result.called) or 'no calls'}")


def _steps(expected: Mapping[str, ExpectedStep], result: Result, outline: Outline) -> Iterator[Mismatch]:
    for text, step in expected.items():
        path: Path = ("steps", text)
        found = _matching(text, result, outline)
        if not found:
            yield Mismatch(path, _given(step), ABSENT, "the run never came there")
        for actual in found:
            got = asdict(actual)
            wanted = _given(step)
            error = wanted.pop("error", None)
            yield from subset(wanted, got, path)
            if error is not None:
                assert step.error is not None
                yield from _error(step.error, actual.error, (*path, "error"), outline)


def _matching(text: str, result: Result, outline: Outline) -> list[StepResult]:
    if text in result.steps:
        return [result.steps[text]]
    try:
        key = outline.key(text)
    except UnknownStep:
        return []
    return [step for path, step in result.steps.items() if key.matches(path)]


def _undoing(expect: Expect, result: Result, outline: Outline) -> Iterator[Mismatch]:
    if expect.compensation is not None and expect.compensation != result.compensation:
        yield Mismatch(("compensation",), expect.compensation, result.compensation)
    if expect.undone is not None:
        yield from _paths(expect.undone, result.undone, ("undone",), outline)
    if expect.not_undone is not None:
        names = [path for path, _ in result.not_undone]
        why = "; ".join(f"{path}: {reason}" for path, reason in result.not_undone)
        yield from _paths(expect.not_undone, names, ("not_undone",), outline, ordered=False, note=why or None)


def _paths(
    expected: Sequence[str], got: Iterable[str], path: Path, outline: Outline, *, ordered: bool = True,
    note: str | None = None,
) -> Iterator[Mismatch]:  # fmt: skip
    """Paths that ``expected`` names, all of them and no other."""
    actual = list(got)
    keys = [outline.key(text) for text in expected]
    if ordered:
        good = len(keys) == len(actual) and all(key.matches(one) for key, one in zip(keys, actual, strict=True))
    else:
        left = list(actual)
        for key in sorted(keys, key=lambda key: -key.exactness):
            one = next((path for path in left if key.matches(path)), None)
            if one is not None:
                left.remove(one)
        good = not left and len(keys) == len(actual)
    if not good:
        yield Mismatch(path, list(expected), actual, note)


def _took(expected: float | TimeTaken, took: timedelta) -> Iterator[Mismatch]:
    seconds = took.total_seconds()
    if not isinstance(expected, TimeTaken):
        if abs(seconds - expected) > 1e-6:
            yield Mismatch(("took",), duration(expected), duration(seconds))
        return
    if expected.at_least is not None and seconds < expected.at_least:
        yield Mismatch(("took", "at_least"), f"at least {duration(expected.at_least)}", duration(seconds))
    if expected.at_most is not None and seconds > expected.at_most:
        yield Mismatch(("took", "at_most"), f"at most {duration(expected.at_most)}", duration(seconds))


def duration(seconds: float) -> str:
    """As authors write it: ``1h30m``."""
    text = ""
    left = seconds
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if left >= size:
            text += f"{int(left // size)}{unit}"
            left %= size
    return text + f"{round(left, 3):g}s" if left or not text else text


def _given(part: ExpectedError | ExpectedStep) -> dict[str, Any]:
    return part.model_dump(exclude_unset=True)


def _lines_of(value: Json) -> list[str]:
    if value is ABSENT:
        return ["nothing"]
    if isinstance(value, str) and "\n" not in value:
        return [json.dumps(value, ensure_ascii=False)]
    short = json.dumps(value, ensure_ascii=False)
    if len(short) <= _WIDTH:
        return [short]
    return json.dumps(value, ensure_ascii=False, indent=2, sort_keys=True).split("\n")
