"""Secrets and vars: read at the attempt, and nowhere to be found afterwards."""

from __future__ import annotations

import base64
import json
import logging
from typing import Any
from urllib.parse import quote, quote_plus

import pytest

from mcp_workflows.errors import SettingsInvalid
from mcp_workflows.steps import Environment
from mcp_workflows.steps.redact import Redactor
from tests.steps.calls import bench, body_path

SECRET = 's3cr3t+/="ü value'
PLAIN = "t0p-secret-value"


@pytest.mark.parametrize("prefix", ["", "x", "user:", "abc"])
def test_every_form_that_a_request_gives_a_secret_is_recognised(prefix: str) -> None:
    redactor = Redactor({"KEY": SECRET})
    for form in (
        SECRET,
        quote(SECRET, safe=""),
        quote_plus(SECRET),
        json.dumps(SECRET),
        json.dumps(SECRET, ensure_ascii=False),
        base64.b64encode((prefix + SECRET).encode()).decode(),
        base64.urlsafe_b64encode((prefix + SECRET + "tail").encode()).decode(),
    ):
        shown = redactor.text(f"before {form} after")
        assert "[secret KEY]" in shown, form
        assert form not in shown


def test_a_longer_secret_is_recognised_before_one_that_it_contains() -> None:
    redactor = Redactor({"SHORT": "abcdef", "LONG": "abcdef-ghi"})
    assert redactor.text("abcdef-ghi abcdef") == "[secret LONG] [secret SHORT]"


def test_keys_and_nested_values_are_redacted() -> None:
    redactor = Redactor({"KEY": PLAIN})
    assert redactor.json({PLAIN: [{"a": f"x{PLAIN}"}, 1, None]}) == {"[secret KEY]": [{"a": "x[secret KEY]"}, 1, None]}


def test_without_secrets_nothing_is_copied() -> None:
    value = {"a": ["b"]}
    assert Redactor({}).json(value) is value


USES: list[dict[str, Any]] = [
    {"auth": ("bearer", "${secrets.KEY}")},
    {"auth": ("basic", "ada", "${secrets.KEY}")},
    {"auth": ("header", "X-Key", "${secrets.KEY}")},
    {"headers": {"X-Sign": "v1 ${secrets.KEY} v1"}},
    {"query": {"api_key": "${secrets.KEY}"}},
    {"json": {"nested": ["${secrets.KEY}"]}},
    {"form": {"token": "${secrets.KEY}"}},
    {"text": "token=${secrets.KEY}"},
]


def forms_of(secret: str) -> list[str]:
    return [secret, quote_plus(secret), quote(secret, safe=""), base64.b64encode(f"ada:{secret}".encode()).decode()]


@pytest.mark.anyio
@pytest.mark.parametrize("use", USES, ids=lambda use: next(iter(use)))
@pytest.mark.parametrize("path", ["/echo", "/status/422", "/close-after", "/hang", "/echo/${secrets.KEY}"])
async def test_a_secret_is_in_no_result_no_error_and_no_log(
    use: dict[str, Any], path: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    secret = PLAIN if {"auth", "headers"} & use.keys() else 'p@ss+/="word'
    async with bench({"KEY": secret}) as b:
        outcome = await b.attempt(path, "POST", timeout=0.3, **use)
        sent = b.service.calls[0]
    assert any(
        form in str(sent.headers) + sent.target + sent.body.decode() for form in [*forms_of(secret), json.dumps(secret)]
    )
    said = repr(outcome) + caplog.text + "".join(capfd.readouterr())
    for form in forms_of(secret):
        assert form not in said


@pytest.mark.anyio
@pytest.mark.parametrize(
    "body",
    [
        json.dumps({"echo": PLAIN}).encode(),
        b'{"echo": "\\u0074\\u0030p-secret-value"}',
        json.dumps({PLAIN: 1}).encode(),
        ('{"ü": "' + PLAIN + '"}').encode(),
    ],
)
async def test_a_service_that_gives_the_secret_back_gives_it_to_nobody(body: bytes) -> None:
    async with bench({"KEY": PLAIN}) as b:
        good = await b.completed(body_path(body), "POST")
        bad = await b.failed(body_path(body, status=400), "POST")
        turned_down = await b.failed(body_path(body), "POST", success="has(result.body.nope)")
        utf16 = await b.completed(body_path(body.decode().encode("utf-16"), "application/json; charset=utf-16"), "POST")
        header = await b.completed(f"/header?name=X-Key&value={PLAIN}")
    for said in (good, bad, turned_down, utf16, header):
        assert PLAIN not in repr(said)
        assert "[secret KEY]" in repr(said)


@pytest.mark.anyio
async def test_a_message_is_redacted_before_it_is_cut() -> None:
    """A secret that the cut would split could not be recognised any more."""
    async with bench({"KEY": PLAIN}) as b:
        for pad in range(440, 500, 3):
            error = await b.failed(
                body_path(b"x" * pad + PLAIN.encode(), "text/plain", 400), "POST", json={"k": "x" * pad + PLAIN}
            )
            assert PLAIN[:6] not in repr(error)


@pytest.mark.anyio
async def test_an_error_inside_names_no_secret_in_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def explode(*_: object, **__: object) -> None:
        raise RuntimeError(f"cannot send Bearer {PLAIN}")

    monkeypatch.setattr("mcp_workflows.steps.client.Client.send", explode)
    async with bench({"KEY": PLAIN}) as b:
        error = await b.failed("/ok", "POST", auth=("bearer", "${secrets.KEY}"))
    assert error.code == "internal"
    assert "cannot send Bearer [secret KEY]" in caplog.text
    assert PLAIN not in caplog.text + repr(error)


@pytest.mark.anyio
async def test_a_declared_secret_without_a_value_is_named_with_its_setting() -> None:
    async with bench(declared=("KEY", "OPTIONAL")) as b:
        await b.completed("/echo", "POST")
        error = await b.failed("/echo", "POST", auth=("bearer", "${secrets.KEY}"))
        seen = await b.completed("/echo", "POST", headers={"X-Key": "${secrets.?OPTIONAL}"})
        assert len(b.service.calls) == 2
    assert (error.code, error.in_doubt, error.retryable) == ("settings", False, False)
    assert "MCP_WORKFLOWS_SECRET_KEY" in error.message
    assert "x-key" not in seen["body"]["headers"]


@pytest.mark.anyio
async def test_a_secret_is_read_at_the_attempt() -> None:
    async with bench({"KEY": "first-value"}) as b:
        await b.completed("/echo", "POST", auth=("bearer", "${secrets.KEY}"))
        b.secrets["KEY"] = "second-value"
        await b.completed("/echo", "POST", auth=("bearer", "${secrets.KEY}"))
        assert [call.headers["authorization"] for call in b.service.calls] == [
            "Bearer first-value",
            "Bearer second-value",
        ]


def test_vars_are_overridden_by_settings_in_the_type_of_the_default() -> None:
    environment = Environment(vars={"PORT": "9000", "URL": "http://x", "ON": "false", "LIST": '["a"]', "UNKNOWN": "1"})
    defaults: dict[str, Any] = {"PORT": 8900, "URL": "http://y", "ON": True, "LIST": [], "OTHER": "stays"}
    assert environment.vars_over(defaults) == {
        "PORT": 9000,
        "URL": "http://x",
        "ON": False,
        "LIST": ["a"],
        "OTHER": "stays",
    }


@pytest.mark.parametrize(("text", "default"), [("nine", 8900), ("1", True), ("true", 1), ("{}", []), ('"x"', 5)])
def test_an_override_that_does_not_fit_its_default_is_refused(text: str, default: Any) -> None:
    with pytest.raises(SettingsInvalid, match="MCP_WORKFLOWS_VAR_PORT"):
        Environment(vars={"PORT": text}).vars_over({"PORT": default})


def test_a_node_knows_which_secrets_it_lacks() -> None:
    assert Environment(secret={"A": "1"}.get).missing(["A", "B"]) == ("B",)
