"""Blocks that are refused, each with every line that its author is shown."""

from __future__ import annotations

import pytest

from mcp_workflows.definition.expressions import MEANINGS
from tests.definition.loading import refusals

CASES = {
    "steps inside of blocks are read from outside as the block's output": (
        """
        input: {properties: {list: {type: array, items: {}}}, required: [list]}
        steps:
          - id: install
            for_each:
              items: ${input.list}
              steps:
                - id: one
                  set: {a: 1}
                - id: inner
                  parallel:
                    left: [{id: l, set: {a: "${steps.r.output}"}}]
                    right: [{id: r, set: {a: "${steps.install.output}"}}]
                - set: {a: "${steps.l.output}", b: "${steps.inner.output.lefd}", c: "${index}"}
          - for_each: {items: "${input.list}", as: x, steps: [{id: two, set: {a: 1}}]}
          - id: sw
            switch:
              - when: ${has(input.list)}
                steps: [{id: three, set: {a: 1}}]
              - when: ${has(input.list)}
                steps: [{set: {a: "${steps.three.output}"}}]
          - id: later
            set: {a: "${steps.one.output}", b: "${steps.two.output}", c: "${steps.r.output}", d: "${steps.later1.output}"}
          - set: {a: "${x}", b: "${item}", c: "${index}", d: "${state}", e: "${error}", f: "${itm}"}
          - parallel: {p: [{id: later1, set: {a: 1}}]}
            on_error: [{else: [{id: oe, set: {a: 1}}]}]
            compensate: [{id: co, set: {a: "${steps.oe.output}"}}]
          - set: {a: "${steps.oe.output}", b: "${steps.co.output}", c: "${steps.sw.output.a}", d: "${steps.sw.?output.?a}"}
        output: ${steps.install.errors} ${steps.sw.errors}
        """,
        [
            '13:46 expr: step "r" is in branch "right" of parallel "inner"; branches do not see one another',
            '14:47 expr: step "install" is not done here; it stands around this one',
            '15:29 expr: step "l" is inside parallel "inner"; from outside read steps.inner.output.left',
            '15:66 expr: unknown name "steps.inner.output.lefd". Steps.inner.output has left, right',
            '22:36 expr: step "three" is in another arm of switch "sw"',
            '24:23 expr: step "one" is inside for_each "install"; from outside read steps.install.output',
            '24:49 expr: step "two" is inside the for_each at line 16; give that an id and read its output',
            '24:75 expr: step "r" is inside for_each "install"; from outside read steps.install.output',
            '24:99 expr: step "later1" is inside the parallel at line 26, after this one',
            '25:17 expr: unknown name "x": it is there only in the for_each at line 16',
            '25:28 expr: unknown name "item": it is there only in for_each "install"',
            '25:42 expr: unknown name "index": it is there only in for_each and repeat',
            '25:57 expr: unknown name "state": it is there only in a repeat that has state',
            '25:72 expr: unknown name "error": it is there only in on_error and compensate',
            '25:87 expr: unknown name "itm"',
            '28:45 expr: step "oe" is inside the on_error of "parallel#6"; give that an id and read its output',
            '29:23 expr: step "oe" is inside the on_error of "parallel#6"; give that an id and read its output',
            '29:48 expr: step "co" is inside the compensate of "parallel#6"; from outside it cannot be read',
            '29:73 expr: step "sw" may be skipped (switch without else, line 18): write steps.sw.?output.?a',
            '30:25 expr: unknown name "steps.install.errors". It is there with on_item_error: collect',
            '30:44 expr: unknown name "steps.sw.errors". A step has status, output and error. Did you mean "error"?',
        ],
    ),
    "an item's name shadows nothing": (
        """
        input: {properties: {list: {type: array, items: {}}}, required: [list]}
        steps:
          - for_each:
              items: ${input.list}
              as: input
              steps: [{set: {a: 1}}]
          - for_each:
              items: ${input.list}
              as: int
              steps: [{set: {a: 1}}]
          - for_each:
              items: ${input.list}
              as: a-b
              steps: [{set: {a: 1}}]
          - for_each:
              items: ${input.list}
              as: for
              steps: [{set: {a: 1}}]
          - for_each:
              items: ${input.list}
              steps:
                - for_each:
                    items: ${item}
                    steps: [{set: {a: 1}}]
                - for_each:
                    items: ${item}
                    as: item
                    steps: [{set: {a: "${input.list.map(item, item)}"}}]
        """,
        [
            '7:11 for_each: "input" already means something in expressions; give the item another name',
            '11:11 for_each: "int" already means something in expressions; give the item another name',
            '15:11 id: "a-b" is no identifier: an expression would read it as a minus b. Use a_b',
            '19:11 id: "for" is a reserved word of CEL (as, for, in, loop, package, var, …)',
            '24:11 for_each: "item" is already the item of the for_each at line 21; name this one with as',
            '29:17 for_each: "item" is already the item of the for_each at line 21; name this one with as',
            '30:48 expr: "item" already means something; give the variable another name',
        ],
    ),
    "the forms of blocks": (
        """
        steps:
          - switch: []
          - switch: [{}]
          - switch: [{steps: [{set: {a: 1}}]}]
          - switch: [{else: [{set: {a: 1}}]}, {when: "${true}", steps: [{set: {a: 1}}]}]
          - switch: [{when: "${true}"}, {when: "${true}", else: [{set: {a: 1}}]}, {else: [], stepz: 1, set: 3}]
          - switch: {cases: {a: [{set: {}}]}}
          - switch: {value: x, cases: {}}
          - switch: {value: x, cases: {a: {outputt: 3}, b: [], c: [{sett: 1}]}, else: {steps: 3}}
          - switch: {value: "${[1]}", cases: {a: {}}, else: []}
          - switch: 3
          - parallel: []
          - parallel: {}
          - parallel: {a-b: [{set: {a: 1}}], b: [], c: {set: {}}, d: [3, {sett: 1}]}
          - for_each: {steps: [{set: {a: 1}}]}
          - for_each: {items: abc}
          - for_each: {items: abc, steps: [], concurrency: 0, on_item_error: continue, when: x}
          - for_each: {items: 3, steps: [{set: {}}], concurrency: 1001}
          - for_each: {items: "a ${run.id}", steps: [{set: {}}]}
          - for_each: {items: "${run.id}", steps: [{set: {}}]}
          - for_each: {items: {a: 1}, steps: [{set: {}}]}
          - for_each: {items: [1, "${run.id}"], steps: [{set: {a: "${item}"}}]}
          - repeat: {steps: [{set: {}}]}
          - repeat: {steps: [{set: {}}], next: 3, max_iterations: 0}
          - repeat: {steps: [{set: {}}], next: 3, until: true, every: 3}
          - repeat: {steps: [{set: {}}], until: "${state == 1 || error.code == 'x'}", max_iterations: 1000001, until2: x}
          - repeat: {max_iterations: 1, steps: [{set: {}}]}
            retry: {max_attempts: 2}
            timeout: 3s
            at_most_once: true
            compensate:
              parallel: {a: [{return: 3}, {set: {}, compensate: {set: {}}}, {switch: [{else: [{fail: x}]}]}]}
              timeout: 3s
          - return: 3
            on_error: [{else: [{set: {}}]}]
          - set: {}
            on_error: []
          - set: {}
            on_error: [{when: "${true}"}, {set: {}}]
          - set: {}
            on_error: stop
          - set: {}
            on_error: [{when: "${steps.a.output}", output: "${error.foo}"}, {else: [], output: "${error.status}"}]
        """,
        [
            "4:13 value: must have at least 1, found 0",
            "5:14 switch: an arm is {when, steps} or, as the last one, {else: [steps]}",
            '6:14 switch: an arm has "when", or is {else: [steps]}',
            "7:15 switch: else is the last arm: those after it would never be taken",
            "8:14 switch: this needs steps or an output",
            '8:34 switch: "when" may not stand beside "else", which holds the steps itself',
            "8:75 switch: this needs steps or an output",
            '8:86 unknown_key: "stepz" is not a key of an arm. Did you mean "steps"?',
            '8:96 unknown_key: "set" is not a key of an arm. It belongs to a step under steps',
            '9:5 missing: switch needs "value"',
            "10:31 value: must have at least 1, found 0",
            '11:21 expr: value must be an expression, found the text "x". Write ${x}',
            "11:32 switch: this needs steps or an output",
            '11:36 unknown_key: "outputt" is not a key of a case. Did you mean "output"?',
            "11:52 value: must have at least 1, found 0",
            '11:61 unknown_key: "sett" is not a key of a step. Did you mean "set"?',
            "11:87 value: expected a list of steps, each beginning with -, found 3",
            '12:24 expr: found list, expected a text, a number or a bool, in "value"',
            "12:39 switch: this needs steps or an output",
            "12:53 value: must have at least 1, found 0",
            "13:13 value: expected a list of arms, or {value, cases}, found 3",
            "14:15 value: expected a mapping of lists of steps, each under a name, found a list",
            "15:15 value: must have at least 1, found 0",
            '16:16 id: "a-b" is no identifier: an expression would read it as a minus b. Use a_b',
            "16:41 value: must have at least 1, found 0",
            "16:48 value: expected a list, found a mapping",
            "16:63 value: expected a mapping, found 3",
            '16:67 unknown_key: "sett" is not a key of a step. Did you mean "set"?',
            '17:5 missing: for_each needs "items"',
            '18:5 missing: for_each needs "steps"',
            "19:35 value: must have at least 1, found 0",
            "19:52 value: must be at least 1, found 0",
            '19:70 value: "continue" is not one of fail, collect',
            '19:80 unknown_key: "when" is not a key of for_each. It belongs to the step',
            '20:23 for_each: items must be an expression that gives a list, or a list; found "3"',
            "20:59 value: must be at most 1000, found 1001",
            "21:23 for_each: items must be one expression that gives a list; this is a text of several pieces",
            "23:23 for_each: items must be an expression that gives a list, or a list; found a mapping",
            "25:5 repeat: needs until or max_iterations",
            "26:34 repeat: next gives the next state, and there is none to begin with: add state",
            "26:59 value: must be at least 1, found 0",
            "27:34 repeat: next gives the next state, and there is none to begin with: add state",
            "27:50 expr: until must be an expression that gives true or false, found true. Write ${true}",
            '27:63 duration: "3" needs a unit: 90s, 15m, 2h, 3d',
            '28:44 expr: unknown name "state": it is there only in a repeat that has state',
            '28:58 expr: unknown name "error": it is there only in on_error and compensate',
            "28:95 value: must be at most 1000000, found 1000001",
            '28:104 unknown_key: "until2" is not a key of repeat. Did you mean "until"?',
            '30:5 retry: "repeat" takes no retry: it is not tried again as a whole; give it to the steps inside',
            '31:5 timeout: "repeat" takes no timeout here: give it to the steps inside, or to the run',
            "32:5 at_most_once: at_most_once is for http, python and mcp_tool; give it to the step inside",
            '34:23 compensate: "return" may not stand in compensate: the run is ending already',
            "34:45 compensate: what undoes a step is not undone itself",
            '34:88 compensate: "fail" may not stand in compensate: the run is ending already',
            '35:7 timeout: "parallel" takes no timeout here: give it to the steps inside, or to the run',
            '37:5 on_error: "return" ends the run, whatever stands here',
            "39:15 value: must have at least 1, found 0",
            "41:16 on_error: this needs steps or an output",
            '41:35 on_error: an arm has "when", or is {else: [steps]}',
            '41:36 unknown_key: "set" is not a key of an arm. It belongs to a step under steps',
            '43:15 on_error: "stop" is not continue, nor a list of arms',
            '45:32 expr: unknown step "a"',
            (
                '45:61 expr: unknown name "error.foo". Error has code, message, in_doubt, status, body, attempts, '
                "step, path, details, request"
            ),
            "45:97 expr: not every error has status: write error.?status",
        ],
    ),
    "a block that may have no output is read as optional": (
        """
        input: {required: [n], properties: {n: {type: integer}}}
        steps:
          - id: open
            switch: [{when: "${input.n > 1}", steps: [{set: {a: 1}}]}]
          - id: closed
            switch: [{when: "${input.n > 1}", steps: [{set: {a: 1}}]}, {else: [{set: {a: 2}}]}]
          - id: ended
            switch: [{when: "${input.n > 1}", steps: [{set: {a: 1}}]}, {else: [{wait: 1s}, {fail: x}]}]
          - id: last
            switch:
              - when: ${input.n > 1}
                steps: [{set: {a: 1}}]
              - else:
                  - id: maybe
                    when: ${input.n > 0}
                    set: {a: 2}
          - id: given
            switch:
              - when: ${input.n > 1}
                steps: [{set: {a: 1}}]
              - else: [{id: maybe2, when: "${input.n > 0}", set: {a: 2}}]
                output: ${steps.maybe2.?output.?a.orValue(3)}
          - id: cases
            switch: {value: "${input.n}", cases: {a: [{set: {}}]}}
          - id: deep
            repeat: {max_iterations: 2, steps: [{switch: {value: "${input.n}", cases: {a: [{set: {}}]}}}]}
          - id: counted
            repeat: {max_iterations: 2, state: 1, steps: [{switch: {value: "${input.n}", cases: {a: [{set: {}}]}}}]}
          - id: listed
            for_each: {items: [1], steps: [{switch: {value: "${input.n}", cases: {a: [{set: {}}]}}}]}
          - id: sided
            parallel: {left: [{switch: {value: "${input.n}", cases: {a: [{set: {}}]}}}]}
          - id: handled
            http: {url: "https://x.test"}
            on_error: [{when: "${error.code == 'x'}", steps: [{set: {}}]}]
          - id: unhandled
            http: {url: "https://x.test"}
            on_error: [{when: "${error.code == 'x'}", steps: [{set: {}, when: "${input.n > 3}"}]}]
          - id: passed
            on_error: continue
            parallel: {left: [{set: {}}]}
          - id: said
            switch: [{when: "${input.n > 1}", steps: [{set: {a: 1}}]}]
            output: always
            compensate: {set: {a: "${steps.open.output}", b: "${steps.said.output}"}}
          - id: says
            switch: [{when: "${input.n > 1}", steps: [{set: {a: 1}}]}]
            output: ${result}
            compensate: {set: {b: "${steps.says.output}"}}
          - id: undone
            switch: [{when: "${input.n > 1}", steps: [{set: {a: 1}}]}]
            compensate: {set: {b: "${steps.undone.output}"}}
          - id: waited
            signal: {name: go, timeout: 3s, on_timeout: continue}
          - id: sums
            parallel: {left: [{set: {}}]}
            output: ${result.lefd}
          - id: collected
            for_each: {items: [1], on_item_error: collect, steps: [{set: {a: 1}}]}
          - id: skipped
            when: ${input.n > 1}
            for_each: {items: [1], on_item_error: collect, steps: [{set: {a: 1}}]}
        output:
          - ${steps.open.output}
          - ${steps.closed.output}
          - ${steps.ended.output}
          - ${steps.last.output}
          - ${steps.given.output}
          - ${steps.cases.output}
          - ${steps.deep.output}
          - ${steps.counted.output}
          - ${steps.listed.output[0].a}
          - ${steps.sided.output.left.a}
          - ${steps.handled.output}
          - ${steps.unhandled.output}
          - ${steps.passed.output.left}
          - ${steps.said.output}
          - ${steps.waited.output}
          - ${steps.collected.errors}
          - ${steps.collected.error}
          - ${steps.skipped.errors[0].code}
          - ${steps.skipped.?errors[?0].?code}
        """,
        [
            '47:36 expr: step "open" may be skipped (switch without else, line 6): write steps.open.?output',
            '59:22 expr: unknown name "result.lefd". Result has left',
            '66:13 expr: step "open" may be skipped (switch without else, line 6): write steps.open.?output',
            (
                '69:13 expr: step "last" may have no output, for "maybe" may be skipped (when, line 17): write '
                "steps.last.?output"
            ),
            '71:13 expr: step "cases" may be skipped (switch without else, line 26): write steps.cases.?output',
            (
                '72:13 expr: step "deep" may have no output, for "switch#1" may be skipped (switch without else, '
                "line 28): write steps.deep.?output"
            ),
            (
                '77:13 expr: step "unhandled" may have no output, for "set#1" may be skipped (when, line 40): write '
                "steps.unhandled.?output"
            ),
            '78:13 expr: step "passed" may fail (on_error, line 42): write steps.passed.?output.?left',
            '79:13 expr: step "said" may be skipped (switch without else, line 45): write steps.said.?output',
            '80:13 expr: step "waited" may not come (on_timeout, line 56): write steps.waited.?output',
            '82:13 expr: step "collected" has an error only if it failed: write steps.collected.?error',
            '83:13 expr: step "skipped" may be skipped (when, line 63): write steps.skipped.?errors[?0].?code',
        ],
    ),
    "what decides and what is given must have a value": (
        """
        input: {properties: {x: {type: array, items: {}}}}
        steps:
          - for_each: {items: "${input.?x}", steps: [{set: {}}], output: "${input.?x}"}
          - switch: {value: "${input.?x}", cases: {a: {output: "${input.?x}"}}}
          - switch: [{when: "${input.?x}", output: "${input.?x}"}]
          - repeat: {state: "${input.?x}", next: "${input.?x}", collect: "${input.?x}", steps: [{set: {}}],
              until: "${input.?x}"}
          - for_each: {items: "${'abc'}", steps: [{set: {}}]}
          - for_each: {items: "${1 + 1}", steps: [{set: {}}]}
        """,
        [
            '5:26 expr: "items" needs a value and this may have none: add .orValue(…)',
            '5:69 expr: "output" needs a value and this may have none: add .orValue(…)',
            '6:24 expr: "value" needs a value and this may have none: add .orValue(…)',
            '6:59 expr: "output" needs a value and this may have none: add .orValue(…)',
            '7:24 expr: found an optional, expected bool, in "when": end it with .orValue(false)',
            '7:47 expr: "output" needs a value and this may have none: add .orValue(…)',
            '8:24 expr: "state" needs a value and this may have none: add .orValue(…)',
            '8:45 expr: "next" needs a value and this may have none: add .orValue(…)',
            '8:69 expr: "collect" needs a value and this may have none: add .orValue(…)',
            '9:17 expr: found an optional, expected bool, in "until": end it with .orValue(false)',
            '10:26 expr: found string, expected list, in "items"',
            '11:26 expr: found int, expected list, in "items"',
        ],
    ),
    "secrets stay where nothing is recorded": (
        """
        secrets: [A]
        steps:
          - for_each: {items: "${[secrets.A]}", steps: [{set: {}}], output: "${secrets.A}"}
          - switch: {value: "${secrets.A}", cases: {a: {output: "${secrets.A}"}}}
          - repeat: {state: "${secrets.A}", next: "${secrets.A}", collect: "${secrets.A}", steps: [{set: {}}],
              until: "${secrets.A == ''}"}
        """,
        [
            '5:27 secret: secrets.A may not stand in "items": it would be recorded',
            '5:72 secret: secrets.A may not stand in "output": it would be recorded',
            '6:24 secret: secrets.A may not stand in "value": it would be recorded',
            '6:60 secret: secrets.A may not stand in "output": it would be recorded',
            '7:24 secret: secrets.A may not stand in "state": it would be recorded',
            '7:46 secret: secrets.A may not stand in "next": it would be recorded',
            '7:71 secret: secrets.A may not stand in "collect": it would be recorded',
            '8:17 secret: secrets.A may not stand in "until": it would be recorded',
        ],
    ),
}


@pytest.mark.parametrize("case", list(CASES))
def test_every_problem_of_a_block_is_reported_at_its_place(case: str) -> None:
    body, expected = CASES[case]
    assert refusals(body) == expected


def test_what_was_cut_for_its_form_hides_nothing_else() -> None:
    body = """
    steps:
      - for_each:
          items: [1]
          steps:
            - set: 3
            - id: a
              set: {a: "${steps.b.output}"}
            - switch: [{when: x, steps: [{id: c, set: {a: "${nothing}"}}]}, {else: [{sett: 1}, {set: {a: "${no}"}}]}]
      - parallel: {a: [{set: 3}, {set: {a: "${never}"}}]}
    """
    assert [line.split(" ", 1)[1] for line in refusals(body)] == [
        "value: expected a mapping of values, found 3",
        'expr: unknown step "b"',
        'expr: when must be an expression that gives true or false, found the text "x". Write ${x}',
        'expr: unknown name "nothing"',
        'unknown_key: "sett" is not a key of a step. Did you mean "set"?',
        'expr: unknown name "no"',
        "value: expected a mapping of values, found 3",
        'expr: unknown name "never"',
    ]


@pytest.mark.parametrize("name", sorted(MEANINGS - {"google.protobuf.Duration", "google.protobuf.Timestamp"}))
def test_no_item_is_called_what_means_something_in_every_expression(name: str) -> None:
    said = f'3:37 for_each: "{name}" already means something in expressions; give the item another name'
    assert refusals(f"steps: [{{for_each: {{items: [1], as: {name}, steps: [{{set: {{a: 1}}}}]}}}}]") == [said]


@pytest.mark.parametrize("name", ["size", "get", "json", "time", "has", "all", "filter", "duration", "_", "x1"])
def test_an_item_may_be_called_as_a_function_is(name: str) -> None:
    values = f'"${{{name}}} ${{size([{name}])}} ${{json(string({name}))}}"'
    assert refusals(f"steps: [{{for_each: {{items: [1], as: {name}, steps: [{{set: {{a: {values}}}}}]}}}}]") == []


def test_a_failing_step_is_pointed_to_its_error() -> None:
    body = """
    steps:
      - id: a
        http: {url: "https://x.test"}
        on_error: [{else: [], output: "${steps.a.error.code}"}]
    """
    said = 'step "a" is not done here; it is this step: its failure is error'
    assert [line.split(": ", 1)[1] for line in refusals(body)] == [said]


def test_what_a_block_gives_is_not_read_where_it_may_give_nothing() -> None:
    body = """
    steps:
      - switch:
          - when: ${run.version == 1}
            steps: [{id: maybe, when: "${run.version == 2}", set: {a: 1}}]
          - else: [{set: {a: 2}}]
        output: ${result.a}
        on_error: [{else: [], output: 3}]
      - switch:
          - when: ${run.version == 1}
            steps: [{set: {a: 1}}]
        output: ${result.a}
    """
    assert refusals(body) == [
        '8:15 expr: there may be no result: this step may have no output, for "maybe" may be skipped (when, line 6)'
    ]
