"""Random definitions and random worlds for the engine's property tests."""

from __future__ import annotations

from typing import TypeAlias

from hypothesis import strategies as st

from mcp_workflows.definition.expressions import Template, Variables, compile_condition
from mcp_workflows.definition.program import (
    ApprovalWork,
    Arm,
    Compensation,
    Definition,
    FailWork,
    ForEachWork,
    HttpWork,
    JqWork,
    ParallelWork,
    RepeatWork,
    Retry,
    ReturnWork,
    SetWork,
    SignalWork,
    Step,
    SwitchWork,
    WaitWork,
    Work,
    WorkflowWork,
)
from tests.engine.simulation import Answer, Fate, World

TRUE = compile_condition("${1 == 1}", Variables.of("input"))
FALSE = compile_condition("${1 == 2}", Variables.of("input"))
conditions = st.sampled_from([TRUE, FALSE])


def http(method: str = "POST") -> HttpWork:
    return HttpWork(method, Template.of("http://service.test/x"))


retries = st.builds(
    Retry,
    max_attempts=st.integers(1, 3),
    delay=st.sampled_from([0.5, 100.0]),
    jitter=st.booleans(),
    give_up_after=st.sampled_from([None, None, 50.0]),
)

effects: st.SearchStrategy[tuple[str, Work]] = st.sampled_from(
    [
        ("http", http()),
        ("http", http()),
        ("http", http("GET")),
        ("jq", JqWork(".", Template.of(None))),
    ]
)
works: st.SearchStrategy[tuple[str, Work]] = st.sampled_from(
    [
        ("http", http()),
        ("http", http()),
        ("http", http()),
        ("http", http("GET")),
        ("set", SetWork(Template.of({"a": 1}))),
        ("wait", WaitWork(1.0)),
        ("wait", WaitWork(3600.0)),
        ("signal", SignalWork("paid")),
        ("signal", SignalWork("paid", timeout=600.0, on_timeout="continue")),
        ("approval", ApprovalWork(Template.of("Go?"), timeout=600.0)),
        ("approval", ApprovalWork(Template.of("Go?"), on_reject="continue", on_timeout="reject", timeout=900.0)),
        ("workflow", WorkflowWork("child", Template.of({}))),
        ("workflow", WorkflowWork("child", Template.of({}), detach=True)),
        ("return", ReturnWork(Template.of("early"))),
        ("fail", FailWork(Template.of("no way"))),
    ]
)


class Names:
    """Names that are unique in a definition."""

    def __init__(self) -> None:
        self._count = 0

    def __call__(self) -> str:
        self._count += 1
        return f"s{self._count}"


# Plain functions over constant strategies: a strategy made anew for each step costs more than all the rest.

Draw: TypeAlias = st.DrawFn
ANY = st.booleans()
OF_THREE = st.integers(0, 2)
OF_FOUR = st.integers(0, 3)
OF_FIVE = st.integers(0, 4)
OF_SIX = st.integers(0, 5)
WHENS = st.sampled_from([None, None, None, TRUE, FALSE])
BLOCKS = st.sampled_from(["switch", "parallel", "for_each", "repeat"])
UNTILS = st.sampled_from([None, None, TRUE, FALSE])
STATES = st.sampled_from([None, Template.of({"n": 0})])
COLLECTS = st.sampled_from([None, Template.of("element")])
EVERIES = st.sampled_from([None, None, 30.0])
OUTPUTS = st.sampled_from([None, Template.of("else")])


def compensation(draw: Draw, names: Names) -> Compensation:
    in_doubt = draw(ANY)
    if draw(OF_FOUR):
        return Compensation((Step("", "http", http(), retry=draw(retries)),), in_doubt)
    steps = [tried(draw, names) for _ in range(1 + draw(ANY))]
    if draw(ANY):
        steps.append(Step(names(), "for_each", ForEachWork(Template.of([1, 2]), (tried(draw, names),), concurrency=2)))
    return Compensation(tuple(steps), in_doubt)


def tried(draw: Draw, names: Names) -> Step:
    name, (kind, work) = names(), draw(effects)
    return Step(name, kind, work, id=name, retry=draw(retries))


def step(draw: Draw, names: Names, depth: int) -> Step:
    name = names()
    holds = depth > 0 and draw(OF_THREE) == 0
    kind, work = block(draw, names, depth - 1) if holds else draw(works)
    is_http = kind == "http"
    once = is_http and draw(OF_SIX) == 0
    undone = (is_http or (holds and draw(OF_FOUR) == 0)) and draw(ANY)
    return Step(
        name,
        kind,
        work,
        id=name,
        when=draw(WHENS),
        retry=Retry() if once or not is_http else draw(retries),
        continue_on_error=draw(OF_FIVE) == 0,
        on_error=arms(draw, names, depth - 1) if depth > 0 and draw(OF_FIVE) == 0 else (),
        compensate=compensation(draw, names) if undone else None,
        at_most_once=once,
        reads_now=draw(ANY) if is_http else False,
    )


def steps(draw: Draw, names: Names, depth: int, most: int = 3) -> tuple[Step, ...]:
    return tuple(step(draw, names, depth) for _ in range(draw(st.integers(1, most))))


def arms(draw: Draw, names: Names, depth: int) -> tuple[Arm, ...]:
    count = draw(OF_THREE)
    found = [Arm(f"when{n + 1}", steps(draw, names, depth, 2), when=draw(conditions)) for n in range(count)]
    if draw(ANY) or not found:
        found.append(Arm("else", steps(draw, names, depth, 2), output=draw(OUTPUTS)))
    return tuple(found)


def block(draw: Draw, names: Names, depth: int) -> tuple[str, Work]:
    kind = draw(BLOCKS)
    match kind:
        case "switch":
            return kind, SwitchWork(arms(draw, names, depth))
        case "parallel":
            branches = {f"b{n}": steps(draw, names, depth, 2) for n in range(1 + draw(OF_THREE))}
            return kind, ParallelWork(branches)
        case "for_each":
            items = Template.of(list(range(draw(OF_FIVE))))
            inner = steps(draw, names, depth, 2)
            return kind, ForEachWork(items, inner, concurrency=1 + draw(OF_THREE), collect_errors=draw(ANY))
        case _:
            inner = steps(draw, names, depth, 2)
            return kind, RepeatWork(
                inner, state=draw(STATES), collect=draw(COLLECTS), until=draw(UNTILS), every=draw(EVERIES),
                max_iterations=1 + draw(OF_THREE),
            )  # fmt: skip


@st.composite
def definitions(draw: st.DrawFn, depth: int = 2) -> Definition:
    names = Names()
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
        steps=steps(draw, names, depth, 4),
        output=None,
        on_failure=draw(st.sampled_from(["compensate", "compensate", "pause", "fail"])),
        timeout=draw(st.sampled_from([None, None, 60.0])),
    )


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """A fate for each attempt, an answer for each wait: functions of the path and the number alone, so that a rebuild
    meets the same world."""
    fates = draw(st.lists(st.sampled_from([*[Fate.DONE] * 5, *Fate]), min_size=41, max_size=41))
    answers = draw(st.lists(st.sampled_from([Answer.YES, Answer.YES, *Answer]), min_size=41, max_size=41))

    def place(path: str, number: int) -> int:
        return sum(ord(letter) * (n + 1) for n, letter in enumerate(path)) * 7 % 37 + number % 3

    return World(
        lambda path, attempt: fates[place(path, attempt)],
        lambda path, generation: answers[place(path, generation)],
    )
