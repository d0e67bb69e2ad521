"""Random definitions and random worlds for the engine's property tests."""

from __future__ import annotations

from hypothesis import strategies as st

from mcp_workflows.definition.expressions import Template, Variables, compile_condition
from mcp_workflows.definition.program import (
    Compensation,
    Definition,
    FailWork,
    HttpWork,
    Retry,
    ReturnWork,
    SetWork,
    Step,
    WaitWork,
    Work,
)
from mcp_workflows.engine.outcome import StepCall
from tests.engine.simulation import Fate, World

TRUE = compile_condition("${1 == 1}", Variables.of("input"))
FALSE = compile_condition("${1 == 2}", Variables.of("input"))


def http(method: str = "POST") -> HttpWork:
    return HttpWork(method, Template.of("http://service.test/x"))


retries = st.builds(
    Retry,
    max_attempts=st.integers(1, 3),
    delay=st.sampled_from([0.5, 100.0]),
    jitter=st.booleans(),
    give_up_after=st.sampled_from([None, None, 50.0]),
)


@st.composite
def compensations(draw: st.DrawFn) -> Compensation:
    return Compensation((Step("", "http", http(), retry=draw(retries)),), draw(st.booleans()))


works: st.SearchStrategy[tuple[str, Work]] = st.sampled_from(
    [
        ("http", http()),
        ("http", http()),
        ("http", http()),
        ("http", http("GET")),
        ("set", SetWork(Template.of({"a": 1}))),
        ("wait", WaitWork(1.0)),
        ("wait", WaitWork(3600.0)),
        ("return", ReturnWork(Template.of("early"))),
        ("fail", FailWork(Template.of("no way"))),
    ]
)


@st.composite
def steps(draw: st.DrawFn, name: str) -> Step:
    kind, work = draw(works)
    is_http = kind == "http"
    once = is_http and draw(st.integers(0, 5)) == 0
    return Step(
        name,
        kind,
        work,
        id=name,
        when=draw(st.sampled_from([None, None, None, TRUE, FALSE])),
        retry=Retry() if once or not is_http else draw(retries),
        continue_on_error=draw(st.integers(0, 4)) == 0,
        compensate=draw(st.none() | compensations()) if is_http else None,
        at_most_once=once,
        reads_now=draw(st.booleans()) if is_http else False,
    )


@st.composite
def definitions(draw: st.DrawFn) -> Definition:
    names = [f"s{n}" for n in range(draw(st.integers(1, 6)))]
    return Definition(
        name="random",
        title=None,
        description="",
        content="",
        digest="",
        input_schema={},
        output_schema=None,
        vars={},
        secrets=(),
        steps=tuple(draw(steps(name)) for name in names),
        output=None,
        on_failure=draw(st.sampled_from(["compensate", "compensate", "pause", "fail"])),
        timeout=draw(st.sampled_from([None, None, 60.0])),
    )


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """A fate for each attempt: a function of the path and the number alone, so that a rebuild meets the same world."""
    fates = draw(st.lists(st.sampled_from([Fate.DONE, Fate.DONE, Fate.DONE, *Fate]), min_size=40, max_size=40))

    def world(call: StepCall) -> Fate:
        return fates[sum(map(ord, call.path)) * 7 % 37 + call.attempt % 3]

    return world
