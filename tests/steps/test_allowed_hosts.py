"""``allowed_hosts`` of a step: where its URL, its redirects and its questions may lead."""

from __future__ import annotations

import pytest

from tests.services.scripted import Answer, scripted
from tests.steps.long import long_bench, polling, work

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("allowed", "url", "sent"),
    [
        (("127.0.0.1",), "BASE", True),
        (("127.0.0.1:PORT",), "BASE", True),
        (("api.example", "127.0.0.1"), "BASE", True),
        (("api.example", "*.api.example"), "BASE", False),
        (("127.0.0.1:1",), "BASE", False),
        (("localhost",), "BASE", False),
        (("127.0.0.1",), "http://localhost:PORT", False),
        (("127.0.0.1",), "http://127.0.0.1.evil.example", False),
        (("api.example",), "http://API.example.:1", None),
        (("169.254.169.254",), "http://169.254.169.254", False),
        (("evil.example",), "http://evil.example@127.0.0.1:PORT", False),
    ],
)
async def test_the_host_of_a_rendered_url_must_be_allowed(
    allowed: tuple[str, ...], url: str, sent: bool | None
) -> None:
    async with long_bench() as b:
        b.service.on("/x", Answer(200))
        port = b.service.url.rpartition(":")[2]
        hosts = tuple(host.replace("PORT", port) for host in allowed)
        its = work("${input}/x", allowed_hosts=hosts)
        given = url.replace("BASE", b.service.url).replace("PORT", port)
        outcome = await b.run(its, input=given, timeout=5.0)
        assert bool(b.service.calls) == bool(sent)
        code = getattr(getattr(outcome, "error", None), "code", None)
        assert code in ({None} if sent else {"connect"} if sent is None else {"blocked_address", "invalid_request"})


async def test_the_refusal_names_the_setting_that_is_meant() -> None:
    async with long_bench() as b:
        error = await b.failed(work("${vars.BASE}/x", "POST", allowed_hosts=("api.example",)))
        assert (error.code, error.in_doubt) == ("blocked_address", False)
        assert error.message.endswith('host "127.0.0.1" is not among the step\'s allowed_hosts')


async def test_redirects_and_questions_stay_within_the_allowed_hosts() -> None:
    async with long_bench() as b, scripted() as stranger:
        mine, theirs = (url.removeprefix("http://") for url in (b.service.url, stranger.url))
        b.service.on("/x", Answer(302, None, {"Location": f"{stranger.url}/x"}))
        b.service.on("/jobs", Answer(202, {}, {"Location": f"{stranger.url}/jobs/7"}))
        stranger.on("/x", Answer(200))
        stranger.on("/jobs/7", Answer(200))
        poll = polling("${result.headers.location}", "result.status == 200")
        assert (await b.failed(work("${vars.BASE}/x", allowed_hosts=(mine,)))).code == "blocked_address"
        its = work("${vars.BASE}/jobs", "POST", poll=poll, allowed_hosts=(mine,))
        note = (await b.parked(its)).note
        assert (await b.failed(its, parked=note)).code == "blocked_address"
        assert stranger.calls == []
        both = work("${vars.BASE}/jobs", "POST", poll=poll, allowed_hosts=(mine, theirs))
        assert (await b.completed(both, parked=note))["status"] == 200
        assert (await b.completed(work("${vars.BASE}/x", allowed_hosts=(mine, theirs))))["status"] == 200


async def test_what_a_node_may_not_call_no_step_may() -> None:
    async with long_bench(http_allowed_hosts=("api.example",)) as b:
        error = await b.failed(work("${vars.BASE}/x", allowed_hosts=("127.0.0.1",)))
        assert "HTTP_ALLOWED_HOSTS" in error.message
