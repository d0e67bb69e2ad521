"""The 202 pattern: the first answer is kept, then it is asked again and again, and the first request is never sent twice."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from mcp_workflows.definition.program import HttpWork
from mcp_workflows.engine.outcome import Parked
from tests.services.misbehaving import misbehaving
from tests.services.scripted import Answer, Scripted, scripted
from tests.steps.long import BEGIN, long_bench, polling, work

pytestmark = pytest.mark.anyio

DONE = 'result.body.state == "done"'
QUEUED = Answer(202, {"id": "j7", "state": "queued"}, {"Location": "/jobs/j7"})


def job(url: str = "${vars.BASE}/jobs/${result.body.id}", until: str = DONE, **more: Any) -> HttpWork:
    options = {name: more.pop(name) for name in ("fail_when", "headers", "every", "timeout", "method") if name in more}
    more.setdefault("json", {"n": 1})
    return work("${vars.BASE}/jobs", "POST", poll=polling(url, until, **options), **more)


def script(service: Scripted, *answers: Answer, first: Answer = QUEUED) -> None:
    service.on("/jobs", first)
    service.on("/jobs/j7", *answers)


def states(*names: str) -> list[Answer]:
    return [Answer(200, {"state": name}) for name in names]


async def test_a_step_asks_until_it_is_done_and_its_result_is_the_last_answer() -> None:
    async with long_bench() as b:
        script(b.service, *states("running", "done"))
        first = await b.parked(job())
        assert first.wake_after == 5.0
        assert first.note["first"]["body"] == {"id": "j7", "state": "queued"}
        second = await b.parked(job(), parked=first.note)
        assert second.note["asked"] == 1
        result = await b.completed(job(), parked=second.note)
        assert (result["status"], result["body"]) == (200, {"state": "done"})
        assert [(call.method, call.path) for call in b.service.calls] == [
            ("POST", "/jobs"), ("GET", "/jobs/j7"), ("GET", "/jobs/j7"),
        ]  # fmt: skip


async def test_a_restart_goes_on_asking_and_never_sends_the_first_request_again() -> None:
    async with long_bench() as b:
        script(b.service, *states("running", "running", "done"))
        outcome: Any = await b.parked(job())
        while isinstance(outcome, Parked):
            await b.restart()
            outcome = await b.run(job(), parked=json.loads(json.dumps(outcome.note)))
        assert len(b.service.made("/jobs")) == 1
        assert len(b.service.made("/jobs/j7")) == 3


async def test_a_first_answer_that_is_done_already_is_not_asked_about() -> None:
    async with long_bench() as b:
        script(b.service, first=Answer(200, {"id": "j7", "state": "done"}))
        assert (await b.completed(job()))["body"]["id"] == "j7"
        assert len(b.service.calls) == 1


async def test_what_cannot_be_told_of_the_first_answer_does_not_hold_yet() -> None:
    async with long_bench() as b:
        script(b.service, first=Answer(202, None, {"Location": "/jobs/j7"}))
        parked = await b.parked(job("${result.headers.location}", fail_when="result.body.error != null"))
        assert parked.note["first"]["body"] is None


async def test_what_cannot_be_told_of_a_later_answer_fails_the_step_in_doubt() -> None:
    async with long_bench() as b:
        script(b.service, Answer(200, {"status": "done"}))
        first = await b.parked(job())
        error = await b.failed(job(), parked=first.note)
        assert (error.code, error.in_doubt, error.retryable, error.status) == ("expression", True, False, 200)
        assert "result.body.state" in error.message


async def test_the_service_says_that_it_failed() -> None:
    async with long_bench() as b:
        script(b.service, Answer(200, {"state": "failed", "why": "no such page"}))
        asked = job(fail_when='result.body.state == "failed"')
        first = await b.parked(asked)
        error = await b.failed(asked, parked=first.note)
        assert (error.code, error.in_doubt, error.retryable) == ("poll_failed", False, False)
        assert error.body == {"state": "failed", "why": "no such page"}
        assert "no such page" in error.message
        script(b.service, first=Answer(200, {"state": "failed"}))
        assert (await b.failed(asked)).code == "poll_failed"


async def test_retry_after_wins_over_every() -> None:
    async with long_bench() as b:
        script(
            b.service,
            Answer(200, {"state": "running"}, {"Retry-After": "40"}),
            Answer(503, None, {"Retry-After": "70"}),
            Answer(200, {"state": "running"}, {"Retry-After": "Sun, 22 Nov 2026 12:02:00 GMT"}),
            Answer(200, {"state": "running"}, {"Retry-After": "soon"}),
            Answer(200, {"state": "running"}, {"Retry-After": "0"}),
            first=Answer(202, {"id": "j7"}, {"Retry-After": "30"}),
        )
        waits: list[float | None] = []
        asked = job(every=5.0)
        parked = await b.parked(asked)
        for _ in range(5):
            waits.append(parked.wake_after)
            parked = await b.parked(asked, parked=parked.note)
        assert [*waits, parked.wake_after] == [30.0, 40.0, 70.0, 120.0, 5.0, 1.0]


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
async def test_trouble_that_passes_is_no_answer_and_is_asked_again(status: int) -> None:
    async with long_bench() as b:
        script(b.service, Answer(status, {"error": "later"}), *states("done"))
        first = await b.parked(job())
        second = await b.parked(job(), parked=first.note)
        assert str(status) in second.note["last"]
        assert (await b.completed(job(), parked=second.note))["body"] == {"state": "done"}


async def test_no_connection_and_no_answer_in_time_are_asked_again() -> None:
    async with long_bench() as b, misbehaving() as slow:
        script(b.service)
        nobody = job("http://127.0.0.1:1/jobs")
        first = await b.parked(nobody)
        assert "no connection" in (await b.parked(nobody, parked=first.note)).note["last"]
        for path in ("/hang", "/drip", "/reset-after", "/short"):
            asked = job(f"{slow.url}{path}")
            note = (await b.parked(asked, parked=first.note, timeout=0.2)).note
            assert note["asked"] == 1
            assert note["last"].startswith(f"GET {path}")


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 422])
async def test_what_no_later_question_changes_fails_the_step_in_doubt(status: int) -> None:
    async with long_bench() as b:
        script(b.service, Answer(status, {"error": "no"}))
        first = await b.parked(job())
        error = await b.failed(job(), parked=first.note)
        assert (error.code, error.in_doubt, error.retryable) == (f"http_{status}", True, False)
        assert error.message.startswith("GET /jobs/j7 answered")


@pytest.mark.parametrize("host", ["jobs..invalid", "jobs.invalid..", f"{'j' * 64}.invalid"])
async def test_an_address_that_no_name_can_have_leaves_what_was_accepted_in_doubt(host: str) -> None:
    async with long_bench() as b:
        b.service.on("/jobs", Answer(202, None, {"Location": f"http://{host}/jobs/j7"}))
        asked = job("${result.headers.location}")
        error = await b.failed(asked, parked=(await b.parked(asked)).note)
        assert (error.code, error.in_doubt, error.retryable) == ("blocked_address", True, False)


async def test_a_question_that_fails_inside_the_server_leaves_what_was_accepted_in_doubt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a defect")

    async with long_bench() as b:
        script(b.service)
        first = await b.parked(job())
        monkeypatch.setattr("mcp_workflows.steps.poll.render", broken)
        error = await b.failed(job(), parked=first.note)
        assert (error.code, error.in_doubt) == ("internal", True)


async def test_a_first_request_that_changes_nothing_leaves_nothing_in_doubt() -> None:
    async with long_bench() as b:
        script(b.service, Answer(404))
        asked = work("${vars.BASE}/jobs", poll=polling("${vars.BASE}/jobs/j7", DONE))
        first = await b.parked(asked)
        assert not (await b.failed(asked, parked=first.note)).in_doubt


async def test_the_time_for_asking_counts_from_the_first_answer_and_ends_with_one_last_question() -> None:
    async with long_bench() as b:
        script(b.service, *states("running"))
        asked = job(every=40.0, timeout=60.0)
        parked = await b.parked(asked)
        assert parked.note["until"] == "2026-11-22T12:01:00+00:00"
        b.later(40)
        parked = await b.parked(asked, parked=parked.note)
        assert parked.wake_after == 20.0
        b.later(20)
        error = await b.failed(asked, parked=parked.note)
        assert (error.code, error.in_doubt, error.retryable) == ("poll_timeout", True, False)
        assert error.message.startswith(
            "poll was not over after 60 s and 2 questions. The last: GET /jobs/j7 answered 200"
        )
        script(b.service, *states("done"))
        b.later(86_400)
        assert (await b.completed(asked, parked=parked.note))["body"] == {"state": "done"}


async def test_trouble_at_the_last_question_is_the_end_as_well() -> None:
    async with long_bench() as b:
        script(b.service, Answer(503))
        asked = job(timeout=60.0)
        parked = await b.parked(asked)
        b.later(61)
        assert (await b.failed(asked, parked=parked.note)).code == "poll_timeout"


async def test_credentials_and_headers_go_to_the_first_origin_alone() -> None:
    shared: dict[str, Any] = {"auth": ("bearer", "${secrets.TOKEN}")}
    async with long_bench({"TOKEN": "t0p-secret-value"}) as b, scripted() as stranger:
        stranger.on("/jobs/j7", *states("running"))
        script(b.service, *states("running"))
        home, away = (
            with_headers(its) for its in (job(**shared), job(f"{stranger.url}/jobs/${{result.body.id}}", **shared))
        )
        note = (await b.parked(home)).note
        await b.parked(home, parked=note)
        await b.parked(away, parked=note)
        ours, theirs = b.service.calls[-1].headers, stranger.calls[-1].headers
    assert (ours["authorization"], ours["x-tenant"]) == ("Bearer t0p-secret-value", "acme")
    assert not {"authorization", "x-tenant"} & theirs.keys()
    for headers in (ours, theirs):
        assert not {"idempotency-key", "content-type", "content-length"} & headers.keys()


def with_headers(its: HttpWork) -> HttpWork:
    return replace(its, headers=work("http://x", headers={"X-Tenant": "acme", "Content-Type": "text/json"}).headers)


async def test_the_headers_of_poll_are_sent_and_see_the_first_answer() -> None:
    async with long_bench() as b:
        script(b.service, *states("done"), first=Answer(202, {"id": "j7", "ticket": "t-1"}))
        asked = job(headers={"X-Ticket": "${result.body.ticket}", "Accept": "application/x-job"}, method="POST")
        await b.completed(asked, parked=(await b.parked(asked)).note)
        headers = b.service.calls[-1].headers
    assert (headers["x-ticket"], headers["accept"]) == ("t-1", "application/x-job")


async def test_a_secret_in_a_header_of_poll_goes_where_its_author_sends_it_and_not_where_an_answer_says() -> None:
    async with long_bench({"TOKEN": "t0p-secret-value"}) as b, scripted() as stranger:
        stranger.on("/jobs/j7", *states("running"))
        script(b.service, *states("running"), first=Answer(202, {"id": "j7", "url": f"{stranger.url}/jobs/j7"}))
        secret = {"X-Key": "${secrets.TOKEN}"}
        follows = job("${result.body.url}", headers=secret)
        note = (await b.parked(follows)).note
        error = await b.failed(follows, parked=note)
        assert (error.code, error.in_doubt, stranger.calls) == ("blocked_address", True, [])
        written = job(f"{stranger.url}/jobs/${{result.body.id}}", headers=secret)
        await b.parked(written, parked=note)
        assert stranger.calls[-1].headers["x-key"] == "t0p-secret-value"


@pytest.mark.parametrize(
    ("location", "asked"),
    [("/jobs/j7", "/jobs/j7"), ("j7", "/j7"), ("../jobs/j7?x=1#part", "/jobs/j7"), ("//HOST/jobs/j7", "/jobs/j7")],
)
async def test_a_relative_location_counts_from_the_first_request(location: str, asked: str) -> None:
    async with long_bench() as b:
        host = b.service.url.removeprefix("http://")
        script(
            b.service, *states("done"), first=Answer(202, {"id": "j7"}, {"Location": location.replace("HOST", host)})
        )
        b.service.on("/j7", *states("done"))
        its = job("${result.headers.location}", auth=("bearer", "token-1"))
        await b.completed(its, parked=(await b.parked(its)).note)
        assert b.service.calls[-1].path == asked
        assert b.service.calls[-1].headers["authorization"] == "Bearer token-1"


async def test_a_relative_location_of_a_redirected_answer_counts_from_where_it_stands() -> None:
    async with long_bench() as b:
        b.service.on("/jobs", Answer(307, None, {"Location": "/v2/jobs"}))
        b.service.on("/v2/jobs", Answer(202, {"id": "j7"}, {"Location": "jobs/j7"}))
        b.service.on("/v2/jobs/j7", *states("done"))
        its = job("${result.headers.location}")
        await b.completed(its, parked=(await b.parked(its)).note)
        assert b.service.calls[-1].path == "/v2/jobs/j7"


async def test_what_is_inserted_into_a_url_of_several_pieces_cannot_lead_elsewhere() -> None:
    async with long_bench() as b:
        script(b.service, first=Answer(202, {"id": "../../admin"}))
        note = (await b.parked(job())).note
        relative = await b.failed(job("/jobs/${result.body.id}"), parked=note)
        assert (relative.code, relative.in_doubt) == ("invalid_request", True)
        await b.failed(job(), parked=note)
        assert b.service.calls[-1].path == "/jobs/..%2F..%2Fadmin"


@pytest.mark.parametrize(
    "location",
    [
        "http://169.254.169.254/latest/meta-data/",
        "http://[::ffff:169.254.169.254]/",
        "http://0xa9fea9fe/",
        "//169.254.169.254/",
    ],
)
async def test_a_location_at_a_metadata_address_is_not_asked(location: str) -> None:
    async with long_bench() as b:
        script(b.service, first=Answer(202, {}, {"Location": location}))
        its = job("${result.headers.location}")
        error = await b.failed(its, parked=(await b.parked(its)).note)
        assert (error.code, error.in_doubt, error.retryable) == ("blocked_address", True, False)


@pytest.mark.parametrize(
    "location", ["file:///etc/passwd", "gopher://127.0.0.1/", "http://eve:pw@127.0.0.1/", "http://["]
)
async def test_a_location_that_is_no_url_fails_the_step(location: str) -> None:
    async with long_bench() as b:
        script(b.service, first=Answer(202, {}, {"Location": location}))
        its = job("${result.headers.location}")
        error = await b.failed(its, parked=(await b.parked(its)).note)
        assert (error.code, error.in_doubt) == ("invalid_request", True)


async def test_redirects_of_a_question_are_followed_by_the_same_rules() -> None:
    async with long_bench() as b, scripted() as stranger:
        stranger.on("/done", *states("done"))
        script(b.service, Answer(303, None, {"Location": f"{stranger.url}/done"}))
        its = job(auth=("bearer", "token-1"))
        note = (await b.parked(its)).note
        await b.completed(its, parked=note)
        assert "authorization" not in stranger.calls[-1].headers
        script(b.service, Answer(302, None, {"Location": "http://169.254.169.254/"}))
        assert (await b.failed(its, parked=note)).code == "blocked_address"


async def test_a_note_holds_no_secret() -> None:
    secret = "t0p-secret-value"
    async with long_bench({"TOKEN": secret}) as b:
        echo = {"id": "j7", "you": f"Bearer {secret}", secret: 1}
        script(b.service, Answer(503, {"you": secret}), first=Answer(202, echo, {"X-Echo": secret}))
        b.service.on("/start", Answer(307, None, {"Location": f"/jobs?token={secret}"}))
        its = job(auth=("bearer", "${secrets.TOKEN}"))
        first = await b.parked(its)
        second = await b.parked(its, parked=first.note)
        redirected = await b.parked(work("${vars.BASE}/start", "POST", json={}, poll=its.poll, auth=("bearer", secret)))
        for parked in (first, second, redirected):
            assert secret not in json.dumps(parked.note)
        assert "[secret TOKEN]" in second.note["last"]


async def test_a_note_does_not_grow_with_the_answers() -> None:
    async with long_bench() as b:
        script(b.service, Answer(200, {"state": "running", "log": "x" * 100_000}))
        parked = await b.parked(job())
        size = len(json.dumps(parked.note))
        for _ in range(3):
            parked = await b.parked(job(), parked=parked.note)
        assert len(json.dumps(parked.note)) < size + 1000


async def test_a_correction_of_the_first_request_does_not_touch_the_questions() -> None:
    async with long_bench() as b:
        script(b.service, *states("done"))
        its = job()
        note = (await b.parked(its, correction={"json": {"n": 2}, "query": {"x": 1}})).note
        await b.completed(its, parked=note, correction={"json": {"n": 2}, "query": {"x": 1}})
        assert json.loads(b.service.calls[0].body) == {"n": 2}
        assert (b.service.calls[1].query, b.service.calls[1].body) == ({}, b"")


async def test_of_a_blob_the_last_answer_is_one_and_the_first_tells_where_it_is() -> None:
    async with long_bench() as b:
        script(
            b.service, Answer(202, {"state": "running"}), Answer(200, b"%PDF-1.7", {"Content-Type": "application/pdf"})
        )
        its = job(until="result.status == 200", response="blob")
        note = (await b.parked(its)).note
        assert note["first"]["body"]["id"] == "j7"
        note = (await b.parked(its, parked=note)).note
        assert b.blobs.kept == {}
        body = (await b.completed(its, parked=note))["body"]
        assert (body["size"], body["content_type"]) == (8, "application/pdf")
        assert b.blobs.kept["r_1", body["blob"]] == (b"%PDF-1.7", "application/pdf")


async def test_a_blob_that_cannot_be_kept_now_is_asked_for_again() -> None:
    async with long_bench() as b:
        script(b.service, Answer(200, b"%PDF-1.7"))
        its = job(until="result.status == 200", response="blob")
        note = (await b.parked(its)).note
        b.blobs.unwell = True
        note = (await b.parked(its, parked=note)).note
        assert "could not be kept" in note["last"]
        b.blobs.unwell = False
        assert (await b.completed(its, parked=note))["body"]["size"] == 8


async def test_a_first_request_that_fails_is_not_asked_about() -> None:
    async with long_bench() as b:
        script(b.service, first=Answer(503))
        error = await b.failed(job())
        assert (error.code, error.retryable, error.in_doubt) == ("http_503", True, True)


async def test_the_clock_of_a_note_is_the_one_that_was_given() -> None:
    async with long_bench() as b:
        script(b.service)
        assert b.now == BEGIN
        assert (await b.parked(job())).note["until"] is None
