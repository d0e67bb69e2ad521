"""What a good file's waits, calls, children and long requests become."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mcp_workflows.definition.loader import load_text, warnings_of
from mcp_workflows.definition.program import (
    ApprovalWork,
    Callback,
    HttpWork,
    JqWork,
    McpToolWork,
    PythonWork,
    Retry,
    SignalWork,
    Step,
    WorkflowWork,
)
from tests.definition.loading import HEAD, load, text_of

VALUES: dict[str, Any] = {
    "input": {"id": "a/b", "who": ["ada"], "host": "https://x.test"},
    "vars": {"URL": "http://127.0.0.1:8900"},
    "secrets": {"T": "t"},
    "callback_url": "http://me.test/c/1",
    "result": {"status": 202, "headers": {"location": "https://x.test/jobs/1"}, "body": {"id": "j 1", "done": True}},
}


def one(body: str) -> Step:
    return load(body).steps[0]


def test_a_signal_is_called_by_its_step_s_id_where_it_has_no_name() -> None:
    assert one("steps: [{id: go, signal: {}}]").work == SignalWork("go")
    assert one("steps: [{id: go, signal: {name: order.paid}}]").work == SignalWork("order.paid")


def test_the_data_of_a_signal_is_a_closed_object_with_its_defaults() -> None:
    work = one(
        """
        steps:
          - signal:
              name: go
              schema: {required: [n], properties: {n: {type: integer}, why: {default: none}}}
              timeout: 3d
              on_timeout: continue
        """
    ).work
    assert isinstance(work, SignalWork)
    assert (work.timeout, work.on_timeout) == (3 * 86_400, "continue")
    assert work.schema == {
        "type": "object",
        "properties": {"n": {"type": "integer"}, "why": {"default": "none"}},
        "required": ["n"],
        "additionalProperties": False,
    }


def test_an_approval_is_a_person_s_and_fails_the_step_unless_the_author_says_otherwise() -> None:
    work = one("steps: [{approval: {message: Go?}}]").work
    assert isinstance(work, ApprovalWork)
    said = (work.form, work.approvers, work.by, work.timeout, work.on_reject, work.on_timeout)
    assert said == (None, None, "person", None, "fail", "fail")
    assert work.message.render({}) == "Go?"


def test_an_approval_says_who_may_decide_and_what_the_answer_holds() -> None:
    work = one(
        """
        input: {properties: {id: {type: string}, who: {type: array, items: {}}}}
        steps:
          - approval:
              message: Refund ${input.id}?
              form: {required: [reason], properties: {reason: {type: string}}}
              approvers: ${input.who}
              by: anyone
              timeout: 2d
              on_reject: continue
              on_timeout: reject
        """
    ).work
    assert isinstance(work, ApprovalWork)
    assert work.message.render(VALUES) == "Refund a/b?"
    assert work.approvers is not None
    assert work.approvers.render(VALUES) == ["ada"]
    assert work.form is not None
    assert (work.form["type"], work.form["additionalProperties"]) == ("object", False)
    said = (work.by, work.timeout, work.on_reject, work.on_timeout)
    assert said == ("anyone", 2 * 86_400, "continue", "reject")


def test_a_function_gets_its_arguments_by_name_and_a_minute() -> None:
    step = one(
        "input: {properties: {id: {type: string}}}\nsteps: [{python: {call: convert, args: {x: '${input.id}'}}}]"
    )
    assert isinstance(step.work, PythonWork)
    assert (step.work.call, step.work.args.render(VALUES)) == ("convert", {"x": "a/b"})
    assert (step.timeout, step.retry) == (60.0, Retry(max_attempts=1))
    assert step.has_effect


def test_a_function_without_arguments_gets_none() -> None:
    work = one("steps: [{python: {call: convert}}]").work
    assert isinstance(work, PythonWork)
    assert work.args.render({}) == {}


TOOLS = """
vars: {URL: "http://127.0.0.1:8900"}
secrets: [T]
services:
  tools: {mcp: "${vars.URL}/mcp", auth: {bearer: "${secrets.T}"}, headers: {X-A: b}, timeout: 7s, connect_timeout: 2s}
  local: {mcp: files}
steps:
"""


def test_a_tool_is_called_where_and_how_its_service_says() -> None:
    step = load(TOOLS + "  - mcp_tool: {service: tools, tool: search, arguments: {b: '${secrets.T}', a: 1}}\n").steps[0]
    work = step.work
    assert isinstance(work, McpToolWork)
    assert work.server.render(VALUES) == "http://127.0.0.1:8900/mcp"
    assert work.auth is not None
    assert [part.render(VALUES) for part in work.auth.parts] == ["t"]
    assert [(name, value.render(VALUES)) for name, value in work.headers] == [("X-A", "b")]
    assert work.arguments is not None
    assert list(work.arguments.render(VALUES).items()) == [("a", 1), ("b", "t")]
    assert (step.timeout, work.connect_timeout, step.retry) == (7.0, 2.0, Retry(max_attempts=1))
    assert step.has_effect


def test_a_server_may_be_one_of_the_settings_and_be_asked_for_its_tools() -> None:
    step = load(TOOLS + "  - mcp_tool: {service: local, list: true}\n    timeout: 3s\n").steps[0]
    assert isinstance(step.work, McpToolWork)
    assert (step.work.server.render({}), step.work.tool, step.work.arguments) == ("files", None, None)
    assert (step.timeout, step.has_effect) == (3.0, False)


def test_what_may_be_tried_again_is_said_where_it_stands() -> None:
    head = "defaults: {retry: {max_attempts: 9}, timeout: 5s}"
    body = """
          - python: {call: a}
          - python: {call: a}
            retry: {max_attempts: 3, for: [timeout, busy]}
          - mcp_tool: {service: local, tool: a}
            retry: {max_attempts: 4}
          - jq: {filter: ., input: 1}
          - mcp_tool: {service: local, tool: a}
            at_most_once: true
    """
    steps = load(head + TOOLS + body).steps
    assert [step.retry.max_attempts for step in steps] == [1, 3, 4, 1, 1]
    assert steps[1].retry.conditions == ("timeout", "busy")
    assert [step.timeout for step in steps] == [5.0, 5.0, 5.0, 10.0, 5.0]


def test_a_jq_program_is_taken_as_it_is() -> None:
    step = one(
        "input: {properties: {id: {}}}\nsteps: [{jq: {filter: '.a | {env}', input: {a: ['${input.id}']}}, timeout: 60s}]"
    )
    assert isinstance(step.work, JqWork)
    assert (step.work.filter, step.work.input.render(VALUES)) == (".a | {env}", {"a": ["a/b"]})
    assert step.timeout == 60.0


def test_a_child_gets_its_input_and_is_waited_for_unless_it_is_detached() -> None:
    head = "input: {properties: {id: {type: string}}}\n"
    work = one(head + "steps: [{workflow: {name: other, input: {x: '${input.id}'}}}]").work
    assert isinstance(work, WorkflowWork)
    assert (work.name, work.input.render(VALUES), work.detach) == ("other", {"x": "a/b"}, False)
    work = one(head + "steps: [{workflow: {name: other, input: '${input}', detach: true}}]").work
    assert isinstance(work, WorkflowWork)
    assert (work.input.render(VALUES), work.detach) == (VALUES["input"], True)


def http(step: str, head: str = "") -> HttpWork:
    services = 'vars: {URL: x}\nservices: {crm: {base_url: "${vars.URL}/v1"}}\n'
    work = one(f"{head}{services}steps:\n{step}").work
    assert isinstance(work, HttpWork)
    return work


def test_asking_again_sees_the_first_answer_in_url_and_headers_and_the_last_one_in_until() -> None:
    work = http(
        """
  - http:
      service: crm
      method: POST
      path: /jobs
      poll:
        path: /jobs/${result.body.id}
        method: HEAD
        headers: {X-Job: "${result.body.id}"}
        every: 2s
        timeout: 1h
        until: ${result.body.done}
        fail_when: ${result.status == 410}
"""
    )
    poll = work.poll
    assert poll is not None
    assert poll.url.render_url(VALUES) == "http://127.0.0.1:8900/v1/jobs/j%201"
    assert [(name, value.render(VALUES)) for name, value in poll.headers] == [("X-Job", "j 1")]
    assert (poll.method, poll.every, poll.timeout) == ("HEAD", 2.0, 3600.0)
    assert poll.until.evaluate_bool(VALUES)
    assert poll.fail_when is not None
    assert not poll.fail_when.evaluate_bool(VALUES)


def test_asking_again_goes_where_the_first_answer_says() -> None:
    work = http('  - http: {url: "https://x.test", poll: {url: "${result.headers.location}", until: "${true}"}}')
    assert work.poll is not None
    assert work.poll.url.render_url(VALUES) == "https://x.test/jobs/1"
    assert (work.poll.method, work.poll.every, work.poll.timeout) == ("GET", 5.0, None)


@pytest.mark.parametrize(("written", "timeout"), [("true", None), ("{}", None), ("{timeout: 2h}", 7200.0)])
def test_a_step_may_wait_to_be_called(written: str, timeout: float | None) -> None:
    step = f'  - http: {{service: crm, path: /x, method: POST, json: {{to: "${{callback_url}}"}}, callback: {written}}}'
    work = http(step)
    assert work.callback == Callback(timeout)
    assert work.body is not None
    assert work.body.render(VALUES) == {"to": "http://me.test/c/1"}


def test_a_host_may_come_from_input_where_the_file_says_which_it_may_be() -> None:
    step = '  - http: {url: "${input.host}/x", allowed_hosts: [X.test, "*.x.test:8443"]}'
    work = http(step, "input: {required: [host], properties: {host: {type: string}}}\n")
    assert work.allowed_hosts == ("x.test", "*.x.test:8443")
    assert work.url.render_url(VALUES) == "https://x.test/x"


def test_files_go_from_one_request_to_the_next() -> None:
    steps = load(
        """
        steps:
          - id: f
            http: {url: "https://x.test", response: blob}
          - http: {url: "https://x.test", method: PUT, blob: "${steps.f.output}"}
          - http:
              url: https://x.test
              method: POST
              multipart:
                name: x
                files: ["${steps.f.output}", {blob: "${steps.f.output}", filename: a.pdf, content_type: application/pdf}]
                more: {text: "{}", content_type: application/json}
        """
    ).steps
    first, put, post = (step.work for step in steps)
    assert isinstance(first, HttpWork)
    assert isinstance(put, HttpWork)
    assert isinstance(post, HttpWork)
    assert first.response == "blob"
    blob = {"blob": "b_1", "size": 3, "sha256": "0", "content_type": "text/plain"}
    values = {"steps.f": {"output": blob}}
    assert (put.body_kind, post.body_kind) == ("blob", "multipart")
    assert put.body is not None
    assert put.body.render(values) == blob
    assert post.body is not None
    assert post.body.render(values)["files"] == [
        blob,
        {"blob": blob, "filename": "a.pdf", "content_type": "application/pdf"},
    ]


NOW = "'${string(run.now)}'"


@pytest.mark.parametrize(
    "step",
    [
        f"{{python: {{call: a, args: {{t: {NOW}}}}}}}",
        f"{{mcp_tool: {{service: s, tool: a, arguments: {{t: {NOW}}}}}}}",
        f"{{jq: {{filter: ., input: {NOW}}}}}",
        f"{{workflow: {{name: b, input: {{t: {NOW}}}}}}}",
        f"{{approval: {{message: {NOW}}}}}",
        f"{{http: {{url: 'https://x.test', poll: {{url: 'https://x.test', until: '${{true}}', headers: {{a: {NOW}}}}}}}}}",
    ],
)
def test_the_instant_that_a_step_asks_for_is_recorded_with_it(step: str) -> None:
    assert load(f"services: {{s: {{mcp: files}}}}\nsteps: [{step}]").steps[0].reads_now


@pytest.mark.parametrize(
    ("steps", "read_only"),
    [
        ("{http: {url: 'https://x.test'}}", True),
        ("{jq: {filter: ., input: 1}}", True),
        ("{wait: 3s}", True),
        ("{http: {url: 'https://x.test', poll: {url: 'https://x.test', method: POST, until: '${true}'}}}", False),
        ("{python: {call: a}}", False),
        ("{mcp_tool: {service: s, list: true}}", False),
        ("{workflow: {name: b}}", False),
        ("{signal: {name: a}}", False),
        ("{approval: {message: a}}", False),
        ("{for_each: {items: [1], steps: [{approval: {message: a}}]}}", False),
    ],
)
def test_a_workflow_is_read_only_if_it_does_nothing_but_look(steps: str, *, read_only: bool) -> None:
    assert load(f"services: {{s: {{mcp: files}}}}\nsteps: [{steps}]").read_only is read_only


@pytest.mark.parametrize(
    ("steps", "asks"),
    [
        ("{approval: {message: a}}", True),
        ("{approval: {message: a, by: anyone}}", False),
        ("{signal: {name: a}}", False),
        ("{set: {}, compensate: {approval: {message: a}}}", True),
        ("{parallel: {x: [{repeat: {max_iterations: 2, steps: [{approval: {message: a}}]}}]}}", True),
    ],
)
def test_it_is_known_whether_a_person_may_be_asked(steps: str, *, asks: bool) -> None:
    assert load(f"steps: [{steps}]").asks_person is asks


def test_a_stored_definition_is_the_same_as_its_file() -> None:
    body = (
        TOOLS
        + """
          - id: go
            signal: {schema: {properties: {n: {default: 1}}}, timeout: 1h, on_timeout: continue}
          - approval: {message: "${steps.go.?output.?n.orValue(1)}?"}
          - mcp_tool: {service: tools, tool: a, arguments: {b: 1, a: 2}}
          - jq: {filter: "# a\\n.env", input: 1}
          - workflow: {name: other, input: {b: 1}}
          - http: {url: "https://x.test", multipart: {b: 1, a: {text: x}}, method: POST}
    """
    )
    definition = load(body)
    again = load_text(definition.content, "a version 1")
    assert (again.digest, again.children) == (definition.digest, ("other",))


WARNED: dict[str, tuple[str, list[str]]] = {
    "what tools and functions do is not known, so nothing is said of it": (
        """
        services: {s: {mcp: files}}
        steps:
          - python: {call: a}
          - mcp_tool: {service: s, tool: a}
          - workflow: {name: b}
          - wait: 1s
        """,
        [],
    ),
    "a jq step is there for its output": (
        "steps:\n  - id: a\n    jq: {filter: ., input: 1}\n  - wait: 1s\n",
        ['4:5 unused: nothing reads the output of step "a"'],
    ),
    "a server that no step speaks to": (
        "services: {s: {mcp: files}}\nsteps: [{wait: 1s}]\n",
        ['3:12 unused: nothing reads the service "s"'],
    ),
    "what asking again changes": (
        """
        steps:
          - http: {url: "https://x.test", method: POST, poll: {url: "https://x.test", until: "${true}"}}
          - wait: 1s
        """,
        ['4:5 compensate: "http#1" changes something and has no compensate: it stays, if a later step fails'],
    ),
}


@pytest.mark.parametrize("case", list(WARNED))
def test_what_is_probably_not_meant_is_said(case: str, tmp_path: Path) -> None:
    body, expected = WARNED[case]
    path = tmp_path / "a.yaml"
    path.write_text(text_of(body, head=HEAD), encoding="utf-8")
    assert [str(warning).removeprefix(f"{path}:") for warning in warnings_of(path)] == expected
