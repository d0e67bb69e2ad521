"""What steps that hold steps become."""

from __future__ import annotations

import pytest

from mcp_workflows.definition.loader import load_text
from mcp_workflows.definition.program import (
    Definition,
    ForEachWork,
    ParallelWork,
    RepeatWork,
    Step,
    SwitchWork,
    Work,
)
from mcp_workflows.definition.walk import every_step, walk
from tests.definition.loading import load, refusals

ITEMS = "input: {required: [list], properties: {list: {type: array, items: {}}, plan: {type: string}}}\n"


def first(body: str) -> Work:
    return load(body).steps[0].work


def named(definition: Definition, step_id: str) -> Step:
    return next(step for step in walk(definition) if step.id == step_id)


def test_the_arms_of_a_switch_are_named_by_their_place() -> None:
    work = first(
        """
        steps:
          - switch:
              - when: ${run.version == 1}
                steps:
                  - id: one
                    set: {a: 1}
                output: ${steps.one.output.a}
              - when: ${run.version == 2}
                output: nothing
              - else:
                  - set: {a: 3}
        """
    )
    assert isinstance(work, SwitchWork)
    assert work.value is None
    assert [arm.name for arm in work.arms] == ["when1", "when2", "else"]
    assert [arm.when is not None for arm in work.arms] == [True, True, False]
    assert [[step.name for step in arm.steps] for arm in work.arms] == [["one"], [], ["set#1"]]
    one, two, otherwise = work.arms
    assert one.output is not None
    assert one.output.render({"steps.one": {"output": {"a": 7}}}) == 7
    assert two.output is not None
    assert two.output.render({}) == "nothing"
    assert otherwise.output is None


def test_a_null_output_of_an_arm_is_an_output() -> None:
    work = first('steps: [{switch: [{when: "${true}", output: null}, {else: [], output: 1}]}]')
    assert isinstance(work, SwitchWork)
    assert [arm.output is not None and arm.output.render({}) for arm in work.arms] == [None, 1]


def test_cases_are_named_by_their_text_where_it_can_be_part_of_a_path() -> None:
    work = first(
        """
        input: {required: [plan], properties: {plan: {type: string}}}
        steps:
          - switch:
              value: ${input.plan}
              cases:
                pro: [{set: {a: 1}}]
                true: [{set: {a: 2}}]
                9: {steps: [{id: nine, set: {a: 3}}], output: "${steps.nine.output.a}"}
                two words: {output: 4}
                when1: [{set: {a: 5}}]
                case7: [{set: {a: 5}}]
              else: {output: none}
        """
    )
    assert isinstance(work, SwitchWork)
    assert work.value is not None
    assert work.value.render({"input": {"plan": "x"}}) == "x"
    assert [(arm.name, arm.case) for arm in work.arms] == [
        ("case1", "9"),
        ("case2", "case7"),
        ("pro", "pro"),
        ("true", "true"),
        ("case5", "two words"),
        ("case6", "when1"),
        ("else", None),
    ]
    assert len({arm.name for arm in work.arms}) == len(work.arms)


def test_branches_and_cases_do_not_depend_on_the_order_of_the_file() -> None:
    def body(first: str, second: str) -> str:
        return f"""
        steps:
          - parallel:
              {first}: [{{set: {{a: 1}}}}]
              {second}: [{{set: {{a: 1}}}}]
          - switch:
              value: ${{run.id}}
              cases:
                {first} x: [{{set: {{a: 1}}}}]
                {second} x: [{{set: {{a: 1}}}}]
        """

    one, two = load(body("b", "a")), load(body("a", "b"))
    assert one.digest == two.digest
    for definition in (one, two):
        parallel, switch = (step.work for step in definition.steps)
        assert isinstance(parallel, ParallelWork)
        assert isinstance(switch, SwitchWork)
        assert list(parallel.branches) == ["a", "b"]
        assert [(arm.name, arm.case) for arm in switch.arms] == [("case1", "a x"), ("case2", "b x")]


def test_a_for_each_names_its_item() -> None:
    work = first(
        ITEMS
        + """
steps:
  - for_each:
      items: ${input.list}
      as: device
      concurrency: 1000
      steps:
        - id: up
          set: {name: "${device.name}", place: "${index}", first: "${input.list[0]}"}
      output: ${device.name + steps.up.output.name}
      on_item_error: collect
"""
    )
    assert isinstance(work, ForEachWork)
    assert (work.item_name, work.concurrency, work.collect_errors) == ("device", 1000, True)
    assert work.items.render({"input": {"list": [1]}}) == [1]
    assert [step.name for step in work.steps] == ["up"]
    values = {"device": {"name": "a"}, "steps.up": {"output": {"name": "b"}}}
    assert work.output is not None
    assert work.output.names == {"device", "steps.up"}
    assert work.output.render(values) == "ab"


def test_a_for_each_has_defaults_and_takes_a_list_as_it_stands() -> None:
    work = first('steps: [{for_each: {items: [1, "${run.id}", "${input.?x}"], steps: [{set: {a: "${item}"}}]}}]'
                 "\ninput: {properties: {x: {type: string}}}")  # fmt: skip
    assert isinstance(work, ForEachWork)
    assert (work.item_name, work.concurrency, work.collect_errors, work.output) == ("item", 1, False, None)
    assert work.items.render({"run.id": "r", "input": {}}) == [1, "r"]


def test_a_repeat_knows_its_state() -> None:
    work = first(
        """
        steps:
          - repeat:
              state: {cursor: null}
              steps:
                - id: page
                  http: {url: "https://x.test", query: {cursor: "${state.cursor}", page: "${index}"}}
              next: {cursor: '${get(steps.page.output, "next", null)}'}
              collect: ${steps.page.output.items}
              until: ${state.cursor == null || index > 3}
              every: 2s
              max_iterations: 1000000
        """
    )
    assert isinstance(work, RepeatWork)
    assert (work.every, work.max_iterations) == (2, 1_000_000)
    assert work.state is not None
    assert work.state.render({}) == {"cursor": None}
    assert work.next is not None
    assert work.next.render({"steps.page": {"output": {"next": "x"}}}) == {"cursor": "x"}
    assert work.until is not None
    assert work.until.evaluate_bool({"state": {"cursor": None}, "index": 0})


def test_a_repeat_may_be_no_more_than_a_count() -> None:
    work = first("steps: [{repeat: {steps: [{set: {a: 1}}], max_iterations: 3}}]")
    assert work == RepeatWork(work.steps if isinstance(work, RepeatWork) else (), max_iterations=3)


def test_failures_are_handled_by_arms_that_see_the_error() -> None:
    definition = load(
        """
        steps:
          - id: charge
            http: {url: "https://x.test", method: POST}
            on_error:
              - when: ${error.code == "http" && error.?status == optional.of(402)}
                steps:
                  - id: other
                    http: {url: "https://y.test/${error.code}", method: POST}
              - else: []
                output: ${error.message}
        """
    )
    (charge,) = definition.steps
    assert not charge.continue_on_error
    assert [arm.name for arm in charge.on_error] == ["when1", "else"]
    assert [step.name for step in charge.on_error[0].steps] == ["other"]
    assert charge.on_error[1].output is not None
    assert charge.on_error[1].output.render({"error": {"message": "x"}}) == "x"
    assert not definition.read_only


def test_a_block_may_be_skipped_undone_and_say_what_it_gives() -> None:
    (step,) = load(
        """
        steps:
          - id: checks
            title: Both checks
            when: ${run.version > 1}
            parallel:
              credit: [{set: {score: 1}}]
              fraud: [{set: {score: 2}}]
            output: ${result.credit.score + result.fraud.score}
            compensate:
              for_each:
                items: ${[steps.checks.output]}
                as: score
                steps: [{http: {url: "https://x.test/${score}/${error.code}", method: DELETE}}]
        """
    ).steps
    assert step.title == "Both checks"
    assert step.when is not None
    assert step.output is not None
    assert step.output.render({"result": {"credit": {"score": 1}, "fraud": {"score": 2}}}) == 3
    assert step.compensate is not None
    (undo,) = step.compensate.steps
    assert (undo.name, undo.kind) == ("", "for_each")


def test_steps_see_what_came_before_in_every_list_around_them() -> None:
    assert (
        refusals(
            ITEMS
            + """
steps:
  - id: a
    set: {a: 1}
  - for_each:
      items: ${input.list}
      steps:
        - id: b
          set: {a: "${steps.a.output.a}"}
        - switch:
            - when: ${steps.b.output.a == item}
              steps:
                - id: c
                  set: {a: "${steps.a.output.a + steps.b.output.a + item}"}
                  compensate:
                    - id: d
                      set: {a: "${steps.a.output.a + steps.b.output.a + steps.c.output.a + item + index}"}
                    - set: {a: "${steps.d.output.a}", b: "${error.code}"}
                - repeat:
                    state: ${steps.c.output.a}
                    steps:
                      - id: e
                        http: {url: "https://x.test/${state}/${item}/${index}/${steps.c.output.a}"}
                        on_error:
                          - when: ${error.message == "x" && steps.b.output.a == state}
                            steps: [{id: f, set: {a: "${state}"}}, {set: {b: "${steps.f.output.a}"}}]
                    next: ${steps.e.output}
                    max_iterations: 3
"""
        )
        == []
    )


@pytest.mark.parametrize(
    ("body", "read_only", "destructive"),
    [
        ("parallel: {a: [{http: {url: 'https://x.test'}}]}", True, False),
        ("parallel: {a: [{http: {url: 'https://x.test', method: POST}}]}", False, False),
        ("switch: [{when: '${true}', steps: [{http: {url: 'https://x.test', method: DELETE}}]}]", False, True),
        ("for_each: {items: [1], steps: [{http: {url: 'https://x.test', method: DELETE}}]}", False, True),
        ("{set: {}, on_error: [{else: [{http: {url: 'https://x.test', method: DELETE}}]}]}", False, True),
        ("{set: {}, compensate: {parallel: {a: [{http: {url: 'https://x.test', method: DELETE}}]}}}", False, False),
    ],
)
def test_what_a_workflow_may_do_is_known_at_any_depth(body: str, read_only: bool, destructive: bool) -> None:
    step = body if body.startswith("{") else f"{{{body}}}"
    definition = load(f"steps: [{{repeat: {{max_iterations: 2, steps: [{step}]}}}}]")
    assert (definition.read_only, definition.destructive) == (read_only, destructive)


def test_now_is_recorded_by_steps_that_hold_none() -> None:
    definition = load(
        """
        steps:
          - id: again
            repeat:
              steps: [{id: leaf, set: {a: "${run.now}"}}]
              until: ${run.now > run.started_at}
        """
    )
    assert {step.name: step.reads_now for step in walk(definition)} == {"again": False, "leaf": True}


class TestWhoNeedsAStep:
    def test_readers_inside_of_blocks_are_named(self) -> None:
        definition = load(
            """
            steps:
              - id: one
                set: {a: 1}
              - for_each:
                  items: ${[steps.one.output.a]}
                  steps:
                    - id: two
                      set: {a: "${steps.one.output.a}"}
                    - set: {a: '${steps.two.output.a}'}
            """
        )
        assert named(definition, "one").needed_by == ("for_each#2 (a.yaml:7)", "two (a.yaml:10)")
        assert named(definition, "two").needed_by == ("set#2 (a.yaml:11)",)

    def test_whoever_needs_a_block_needs_the_steps_that_its_output_comes_from(self) -> None:
        definition = load(
            """
            steps:
              - id: route
                switch:
                  - when: ${run.version == 1}
                    steps: [{id: a1, set: {a: 1}}, {id: a2, set: {a: 1}}]
                  - when: ${run.version == 2}
                    steps: [{id: b1, set: {a: 1}}]
                    output: 3
                  - else: [{id: inner, repeat: {steps: [{id: c1, set: {a: 1}}], max_iterations: 2}}]
                on_error: [{else: [{id: e1, set: {a: 1}}]}]
              - set: {a: "${steps.route.output}"}
            """
        )
        needed = {step.id for step in walk(definition) if step.needed_by}
        assert needed == {"route", "a2", "inner", "c1", "e1"}

    def test_nobody_needs_what_the_block_s_own_output_leaves_out(self) -> None:
        definition = load(
            """
            steps:
              - id: a
                parallel: {x: [{id: a1, set: {a: 1}}]}
                output: 3
              - id: b
                parallel: {x: [{id: b1, set: {a: 1}}]}
                output: ${result.x}
              - set: {a: "${steps.a.output + steps.b.output.a}"}
            """
        )
        assert {step.id: step.needed_by for step in walk(definition) if step.id in ("a1", "b1")} == {
            "a1": (),
            "b1": ("output of b",),
        }


def nested(depth: int) -> str:
    """Steps in steps in steps: a block of each kind in turn."""
    inner = "[{id: last, set: {a: 1}}]"
    for level in range(depth):
        match level % 6:
            case 0:
                inner = f"[{{for_each: {{items: [1], as: i{level}, steps: {inner}}}}}]"
            case 1:
                inner = f"[{{parallel: {{a: {inner}}}}}]"
            case 2:
                inner = f'[{{switch: {{value: "${{run.id}}", cases: {{a: {{steps: {inner}}}}}}}}}]'
            case 3:
                inner = f'[{{switch: [{{when: "${{true}}", steps: {inner}}}]}}]'
            case 4:
                inner = f"[{{set: {{}}, on_error: [{{else: {inner}}}]}}]"
            case _:
                inner = f"[{{repeat: {{max_iterations: 1, steps: {inner}}}}}]"
    return f"steps: {inner}"


def test_steps_are_nested_up_to_a_depth_and_the_stored_content_is_read_again() -> None:
    definition = load(nested(32))
    assert sum(1 for _ in every_step(definition.steps)) == 33
    assert load_text(definition.content, "again").digest == definition.digest


def test_the_deepest_kind_of_nesting_fits_too() -> None:
    inner = "[{set: {a: 1}}]"
    for _ in range(32):
        inner = f'[{{switch: {{value: "${{run.id}}", cases: {{a: {{steps: {inner}}}}}}}}}]'
    assert len(list(walk(load(f"steps: {inner}")))) == 33


@pytest.mark.parametrize("depth", [33, 36, 39])
def test_deeper_nesting_is_refused_once(depth: int) -> None:
    (refusal,) = refusals(nested(depth))
    assert refusal.endswith("block: steps are nested deeper than 32 lists; a child workflow can hold the rest")


def test_values_are_not_nested_deeper_than_can_be_recorded() -> None:
    deep = "[" * 65 + "]" * 65
    (refusal,) = refusals(f"steps: [{{set: {{a: {deep}}}}}]")
    assert refusal.endswith("value: nested deeper than 64 levels")
