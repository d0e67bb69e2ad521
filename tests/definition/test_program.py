"""What a good file becomes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_workflows.definition.loader import load_file, load_text, warnings_of
from mcp_workflows.definition.program import (
    Backoff,
    Definition,
    FailWork,
    HttpWork,
    McpOptions,
    Retry,
    ReturnWork,
    SetWork,
    Step,
    WaitWork,
)
from tests.definition.loading import load

SHIPPED = sorted(
    path
    for folder in ("definitions", "examples")
    for path in Path(folder).glob("*.yaml")
    if not path.name.endswith(".test.yaml")
)

VALUES = {
    "input": {"id": "a/b c", "list": [1, 2]},
    "vars": {"URL": "http://127.0.0.1:8900/"},
    "secrets": {"TOKEN": "t"},
    "run.id": "r_1",
}


def work_of(step: Step) -> HttpWork:
    assert isinstance(step.work, HttpWork)
    return step.work


def one_http(body: str) -> tuple[Step, HttpWork]:
    definition = load(body)
    return definition.steps[0], work_of(definition.steps[0])


def test_a_request_takes_from_its_service_what_it_does_not_say_itself() -> None:
    step, work = one_http(
        """
        input: {properties: {id: {type: string}, list: {type: array, items: {}}}}
        vars: {URL: "http://127.0.0.1:8900/"}
        secrets: [TOKEN]
        services:
          crm:
            base_url: ${vars.URL}
            auth: {bearer: "${secrets.TOKEN}"}
            headers: {X-Run: "${run.id}", Accept: text/plain}
            timeout: 20s
            connect_timeout: 2s
        steps:
          - http:
              service: crm
              method: POST
              path: /accounts/${input.id}
              headers: {accept: application/json}
              query: {q: "${input.list}", none: "${input.?id}"}
              json: {b: 1, a: "${input.id}"}
        """
    )
    assert step.timeout == 20
    assert (work.connect_timeout, work.method, work.service, work.success) == (2, "POST", "crm", ("2xx",))
    assert {name: value.render(VALUES) for name, value in work.headers} == {
        "X-Run": "r_1",
        "accept": "application/json",
    }
    assert work.auth is not None
    assert (work.auth.scheme, work.auth.parts[0].render(VALUES)) == ("bearer", "t")
    assert work.query is not None
    assert work.query.render(VALUES) == {"q": [1, 2], "none": "a/b c"}
    assert work.body_kind == "json"
    assert work.body is not None
    assert json.dumps(work.body.render(VALUES)) == '{"a": "a/b c", "b": 1}'
    assert work.url.render_url(VALUES) == "http://127.0.0.1:8900/accounts/a%2Fb%20c"


def test_a_request_without_service_stands_alone() -> None:
    step, work = one_http(
        """
        steps:
          - http:
              url: https://x.test/${run.id}
              auth: {basic: [me, "${run.id}"]}
              success: ${result.status < 500}
              response: text
              idempotency_key: false
              form: {a: 1}
            timeout: 3s
        """
    )
    assert step.timeout == 3
    assert work.url.render_url(VALUES) == "https://x.test/r_1"
    assert work.auth is not None
    assert [part.render(VALUES) for part in work.auth.parts] == ["me", "r_1"]
    assert not isinstance(work.success, tuple)
    assert work.success.evaluate_bool({"result": {"status": 404}})
    assert (work.response, work.idempotency_key, work.body_kind) == ("text", False, "form")


def test_a_null_body_is_a_body() -> None:
    _, work = one_http('steps: [{http: {url: "https://x.test/", method: POST, json: null}}]')
    assert work.body_kind == "json"
    assert work.body is not None
    assert work.body.render({}) is None


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        ('{http: {url: "https://x.test"}}', Retry(max_attempts=5, backoff=Backoff.EXPONENTIAL, delay=1, max_delay=60)),
        ('{http: {url: "https://x.test"}, at_most_once: true}', Retry(max_attempts=1)),
        ("{set: {a: 1}}", Retry(max_attempts=1)),
        (
            '{http: {url: "https://x.test"}, retry: {max_attempts: 2, for: [connect, 429, 5xx], backoff: fixed}}',
            Retry(max_attempts=2, backoff=Backoff.FIXED, conditions=("connect", "429", "5xx")),
        ),
        (
            '{http: {url: "https://x.test"}, retry: {delay: 0s, max_delay: 5m, jitter: false, give_up_after: 1h}}',
            Retry(max_attempts=5, delay=0, max_delay=300, jitter=False, give_up_after=3600),
        ),
    ],
)
def test_retries_are_those_of_the_kind_unless_something_else_is_said(step: str, expected: Retry) -> None:
    assert load(f"steps: [{step}]").steps[0].retry == expected


def test_defaults_stand_between_the_kind_and_the_step() -> None:
    definition = load(
        """
        defaults: {retry: {max_attempts: 9, delay: 3s}, timeout: 7s}
        services: {crm: {base_url: "https://x.test", timeout: 8s}}
        steps:
          - http: {url: "https://x.test"}
            retry: {delay: 4s}
          - http: {service: crm, path: /}
          - set: {a: 1}
          - http: {service: crm, path: /}
            timeout: 9s
            compensate: {http: {service: crm, path: /}, retry: {max_attempts: 2}}
        """
    )
    first, second, third, fourth = definition.steps
    assert (first.retry.max_attempts, first.retry.delay, first.timeout) == (9, 4, 7)
    assert (second.retry.max_attempts, second.retry.delay, second.timeout) == (9, 3, 8)
    assert (third.retry.max_attempts, third.timeout) == (1, None)
    assert fourth.timeout == 9
    assert fourth.compensate is not None
    assert (fourth.compensate.steps[0].retry.max_attempts, fourth.compensate.steps[0].timeout) == (2, 8)


def test_every_kind_of_work() -> None:
    definition = load(
        """
        input: {properties: {n: {type: integer}}}
        steps:
          - id: values
            set: {double: "${input.n * 2}", fixed: [1, {a: b}]}
          - wait: 1m30s
          - wait: {until: "${run.now + duration('3s')}"}
          - wait: {until: "2026-11-23T02:00:00Z"}
          - when: ${input.n > 3}
            fail: Too many
          - when: ${input.n > 2}
            fail: {message: "Not ${input.n}", code: too_many, details: {n: "${input.n}"}, on_failure: pause}
          - title: Done
            return: null
        """
    )
    values, minute, until, instant, fail, failing, done = definition.steps
    names = [step.name for step in definition.steps]
    assert names == ["values", "wait#2", "wait#3", "wait#4", "fail#5", "fail#6", "return#7"]
    assert isinstance(values.work, SetWork)
    assert values.work.values.render({"input": {"n": 4}}) == {"double": 8, "fixed": [1, {"a": "b"}]}
    assert minute.work == WaitWork(seconds=90)
    assert isinstance(until.work, WaitWork)
    assert isinstance(instant.work, WaitWork)
    assert [step.reads_now for step in definition.steps] == [False, False, True, False, False, False, False]
    assert isinstance(fail.work, FailWork)
    assert (fail.work.code, fail.work.message.render({}), fail.work.on_failure) == ("failed", "Too many", None)
    assert isinstance(failing.work, FailWork)
    assert (failing.work.code, failing.work.on_failure) == ("too_many", "pause")
    assert failing.work.details is not None
    assert failing.work.details.render({"input": {"n": 4}}) == {"n": 4}
    assert isinstance(done.work, ReturnWork)
    assert done.work.value.render({}) is None


def test_compensations_are_one_piece_of_work_or_a_list() -> None:
    definition = load(
        """
        steps:
          - id: one
            http: {url: "https://x.test", method: POST}
            compensate:
              in_doubt: true
              when: ${error.code != "x"}
              http: {url: "https://x.test/${idempotency_key}/${steps.one.?output.?id}", method: DELETE}
          - id: two
            http: {url: "https://x.test", method: POST}
            compensate:
              - id: look
                http: {url: "https://x.test/${steps.one.output.id}"}
              - http: {url: "https://x.test/${steps.two.output.id}/${steps.look.output.n}", method: DELETE}
                when: ${run.now > run.started_at}
        """
    )
    one, two = definition.steps
    assert one.compensate is not None
    assert one.compensate.in_doubt
    (undo,) = one.compensate.steps
    assert (undo.name, undo.kind, undo.when is not None) == ("", "http", True)
    assert two.compensate is not None
    assert [step.name for step in two.compensate.steps] == ["look", "http#2"]
    assert [step.reads_now for step in two.compensate.steps] == [False, True]
    assert not definition.read_only
    assert not definition.destructive, "compensations do not make a workflow destructive"


def test_who_needs_a_step_is_known() -> None:
    definition = load(
        """
        steps:
          - id: one
            set: {a: 1}
          - id: two
            set: {a: "${steps.one.output.a + steps.one.output.a}", b: "${steps.one.status}"}
          - set: {a: '${steps.two.?output.?a.orValue(1)}'}
        output:
          a: ${steps.one.output.a}
        """
    )
    assert [step.needed_by for step in definition.steps] == [("two (a.yaml:7)", "output (a.yaml:10)"), (), ()]
    stored = load_text(definition.content, "a version 1")
    assert [step.needed_by for step in stored.steps] == [("two", "output"), (), ()]


@pytest.mark.parametrize(
    ("body", "read_only", "destructive"),
    [
        ('steps: [{http: {url: "https://x.test"}}]', True, False),
        ('steps: [{http: {url: "https://x.test", method: HEAD}}, {set: {a: 1}}]', True, False),
        ('steps: [{http: {url: "https://x.test", method: POST}}]', False, False),
        ('steps: [{http: {url: "https://x.test", method: DELETE}}]', False, True),
        ('mcp: {destructive: false}\nsteps: [{http: {url: "https://x.test", method: DELETE}}]', False, False),
        ('mcp: {destructive: true}\nsteps: [{http: {url: "https://x.test", method: POST}}]', False, True),
    ],
)
def test_what_a_workflow_may_do_is_known(body: str, read_only: bool, destructive: bool) -> None:
    definition = load(body)
    assert (definition.read_only, definition.destructive) == (read_only, destructive)


def test_how_it_shows_itself_to_agents() -> None:
    post = 'steps: [{http: {url: "https://x.test", method: POST}}]'
    assert load(post).mcp == McpOptions()
    assert load(f"mcp: {{wait: 3s, join: 10m, expose: none}}\n{post}").mcp == McpOptions(3, 600, "none")
    assert load(f"mcp: {{join: off}}\n{post}").mcp.join == "off"
    assert load('mcp: {join: running}\nsteps: [{http: {url: "https://x.test"}}]').mcp.join == "off", "read-only: never"


class TestContent:
    """The content is the version."""

    BODY = """
        x-shared: &shared {max_attempts: 3, delay: 2s}
        secrets: [TOKEN]
        steps:
          - id: a
            http: {url: "https://x.test", method: POST, form: {b: 1, a: 2}, headers: {T: "${secrets.TOKEN}"}}
            retry: {<<: *shared, delay: 1s}
          - set: {é: "${steps.a.output}"}
    """

    def test_comments_the_order_of_keys_and_how_it_is_written_are_no_part_of_it(self) -> None:
        other = """
            # how often
            secrets:
              - TOKEN
            steps:
              - retry: {delay: 1s, max_attempts: 3}   # resolved
                http: {headers: {T: '${secrets.TOKEN}'}, form: {a: 2, b: 1}, method: "POST", url: https://x.test}
                id: a
              - set:
                  é: ${steps.a.output}
        """
        assert load(self.BODY).digest == load(other).digest

    @pytest.mark.parametrize(
        ("old", "new"),
        [("max_attempts: 3", "max_attempts: 4"), ("é:", "e:"), ("POST", "PUT"), ("b: 1", 'b: "1"')],
    )
    def test_whatever_has_a_meaning_is_part_of_it(self, old: str, new: str) -> None:
        assert load(self.BODY).digest != load(self.BODY.replace(old, new)).digest

    def test_the_order_of_steps_is_part_of_it(self) -> None:
        assert (
            load("steps: [{set: {a: 1}}, {set: {b: 1}}]").digest != load("steps: [{set: {b: 1}}, {set: {a: 1}}]").digest
        )

    def test_it_loads_as_what_it_was(self) -> None:
        definition = load(self.BODY)
        again = load_text(definition.content, "a version 1")
        assert again.content == definition.content
        assert again.digest == definition.digest
        assert definition.content.isascii()
        assert "x-shared" not in definition.content

    def test_what_is_sent_is_the_same_to_the_byte_when_it_comes_from_the_store(self) -> None:
        definition = load(self.BODY)
        bodies = [work_of(each.steps[0]).body for each in (definition, load_text(definition.content, "x"))]
        rendered = [json.dumps(body.render({})) for body in bodies if body is not None]
        assert rendered == ['{"a": 2, "b": 1}'] * 2

    def test_people_are_asked_in_the_author_s_order_though_order_is_no_part_of_it(self) -> None:
        asks = "input: {properties: {zip: {type: string}, city: {type: string}}}\nsteps: [{set: {a: 1}}]"
        sorted_ = "input: {properties: {city: {type: string}, zip: {type: string}}}\nsteps: [{set: {a: 1}}]"
        definition = load(asks)
        again = load_text(definition.content, "a version 1")
        assert list(cast("dict[str, Any]", again.input_schema["properties"])) == ["zip", "city"]
        assert again.digest == definition.digest == load(sorted_).digest


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=12,
)


def escaped(value: Any) -> Any:
    """The value as a literal: an expression's beginning is doubled."""
    if isinstance(value, str):
        return value.replace("${", "$${")
    if isinstance(value, list):
        return [escaped(item) for item in cast("list[Any]", value)]
    if isinstance(value, dict):
        return {key: escaped(item) for key, item in cast("dict[str, Any]", value).items()}
    return value


@given(JSON)
def test_any_literal_survives_the_file_the_store_and_the_rendering(value: Any) -> None:
    text = json.dumps({"name": "a", "description": "x" * 30, "steps": [{"set": {"value": escaped(value)}}]})
    first = load_text(text, "a.json")
    second = load_text(first.content, "a version 1")
    assert first.digest == second.digest
    for definition in (first, second):
        work = definition.steps[0].work
        assert isinstance(work, SetWork)
        assert work.values.render({}) == {"value": value}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_the_shipped_workflows_load_without_a_warning(path: Path) -> None:
    definition = load_file(path)
    assert definition.name == path.stem
    assert warnings_of(path) == ()
    stored = load_text(definition.content, f"{definition.name} version 1")
    assert stored.digest == definition.digest


def test_at_least_four_workflows_are_shipped() -> None:
    assert len(SHIPPED) >= 4


def test_a_definition_is_frozen() -> None:
    definition: Definition = load("steps: [{set: {a: 1}}]")
    with pytest.raises(AttributeError):
        definition.name = "b"  # pyright: ignore[reportAttributeAccessIssue]
