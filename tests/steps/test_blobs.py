"""Bodies that lie outside the records: kept as they came, sent as they were kept, and never another run's."""

from __future__ import annotations

import base64
import hashlib
import json
from email import message_from_bytes
from typing import Any

import pytest
from aiohttp import web

from mcp_workflows.definition.program import HttpWork
from mcp_workflows.steps.blobs import BlobReader
from mcp_workflows.steps.multipart import encode, parts_of
from mcp_workflows.steps.request import RequestInvalid
from tests.services.misbehaving import misbehaving
from tests.services.scripted import Answer, scripted
from tests.steps.calls import body_path
from tests.steps.long import LongBench, MemoryBlobs, long_bench, work

pytestmark = pytest.mark.anyio

BYTES = bytes(range(256)) * 40
PDF = {"Content-Type": "application/pdf"}


def fetch(**more: Any) -> HttpWork:
    return work("${vars.BASE}/report", response="blob", **more)


async def kept(b: LongBench, content: bytes = BYTES, content_type: str | None = "application/pdf") -> Any:
    blob_id = await b.blobs.put_blob("r_1", content, content_type)
    return {"blob": blob_id, "size": len(content), "sha256": "…", "content_type": content_type}


async def test_a_body_is_kept_outside_and_the_result_refers_to_it() -> None:
    async with long_bench() as b:
        b.service.on("/report", Answer(200, BYTES, PDF))
        result = await b.completed(fetch())
        body = result["body"]
        digest = hashlib.sha256(BYTES).hexdigest()
        assert body == {"blob": body["blob"], "size": 10_240, "sha256": digest, "content_type": "application/pdf"}
        assert b.blobs.kept == {("r_1", body["blob"]): (BYTES, "application/pdf")}
        assert result["headers"]["content-type"] == "application/pdf"


async def test_an_empty_body_is_an_empty_blob() -> None:
    async with long_bench() as b:
        b.service.on("/report", Answer(204))
        body = (await b.completed(fetch()))["body"]
        assert (body["size"], body["content_type"]) == (0, None)


async def test_a_blob_may_be_larger_than_an_answer_and_no_larger_than_its_own_limit() -> None:
    async with long_bench(max_answer_bytes=1024, max_blob_bytes=20_000) as b:
        b.service.on("/report", Answer(200, BYTES), Answer(200, BYTES * 2))
        assert (await b.completed(fetch()))["body"]["size"] == 10_240
        error = await b.failed(fetch())
        assert (error.code, error.in_doubt) == ("answer_too_large", False)
        assert "20000 bytes" in error.message
        posted = await b.failed(work("${vars.BASE}/report", "POST", response="blob", json={}))
        assert posted.in_doubt
        assert len(b.blobs.kept) == 1


async def test_an_endless_or_broken_body_is_no_blob() -> None:
    async with long_bench(max_blob_bytes=200_000) as b, misbehaving() as service:
        codes = {
            path: (await b.failed(work(f"{service.url}{path}", response="blob"))).code
            for path in ("/huge", "/huge-declared", "/short", "/gzip-bomb", "/gzip-bad")
        }
        assert b.blobs.kept == {}
    assert codes == {
        "/huge": "answer_too_large",
        "/huge-declared": "answer_too_large",
        "/short": "reset",
        "/gzip-bomb": "answer_too_large",
        "/gzip-bad": "answer_unreadable",
    }


async def test_the_content_type_of_a_blob_can_be_recorded_whatever_it_is() -> None:
    raw = b"HTTP/1.1 200 OK\r\nContent-Type: text/\xff\xfe t0p-secret-value\r\nContent-Length: 2\r\n\r\nok"
    async with long_bench({"TOKEN": "t0p-secret-value"}) as b, misbehaving() as service:
        url = f"{service.url}/raw?b64={base64.urlsafe_b64encode(raw).decode()}"
        body = (await b.completed(work(url, response="blob")))["body"]
        assert body["content_type"] == "text/ÿþ [secret TOKEN]"
        assert b.blobs.kept["r_1", body["blob"]] == (b"ok", "text/ÿþ [secret TOKEN]")
        b.service.on("/store", Answer(200))
        await b.completed(work("${vars.BASE}/store", "POST", blob="${input}"), input=body)


async def test_an_answer_that_says_no_is_read_and_not_kept() -> None:
    async with long_bench() as b, misbehaving() as service:
        url = service.url + body_path(b'{"error":"gone"}', status=404)
        error = await b.failed(work(url, response="blob"))
        assert error.body == {"error": "gone"}
        result = await b.completed(work(url, response="blob", success=("2xx", "404")))
        assert result["body"] == {"error": "gone"}
        assert b.blobs.kept == {}


async def test_success_may_look_at_the_reference() -> None:
    async with long_bench() as b:
        b.service.on("/report", Answer(200, b""), Answer(200, BYTES))
        its = fetch(success="result.status == 200 && result.body.size > 0")
        assert (await b.failed(its)).code == "http_200"
        assert b.blobs.kept == {}
        assert (await b.completed(its))["body"]["size"] == 10_240


async def test_what_cannot_be_kept_is_not_done() -> None:
    async with long_bench() as b:
        b.service.on("/report", Answer(200, BYTES))
        b.blobs.unwell = True
        read = await b.failed(fetch())
        made = await b.failed(work("${vars.BASE}/report", "POST", response="blob", json={}))
    assert (read.code, read.retryable, read.in_doubt) == ("blob_unavailable", True, False)
    assert (made.code, made.retryable, made.in_doubt) == ("blob_unavailable", True, True)
    assert "The database is locked." in made.message


async def test_a_process_without_a_place_for_blobs_sends_nothing() -> None:
    async with long_bench(blobs=None) as b:
        error = await b.failed(fetch())
        assert (error.code, error.in_doubt, b.service.calls) == ("settings", False, [])


BODIES: tuple[dict[str, Any], ...] = ({"blob": "${input}"}, {"multipart": {"file": {"blob": "${input}"}}})


@pytest.mark.parametrize("by_id", [True, False])
async def test_a_blob_is_sent_as_it_was_kept(by_id: bool) -> None:
    async with long_bench() as b:
        b.service.on("/store", Answer(201))
        reference = await kept(b)
        its = work("${vars.BASE}/store", "PUT", blob="${input}")
        await b.completed(its, input=reference["blob"] if by_id else reference)
        call = b.service.calls[0]
        assert (call.body, call.headers["content-type"]) == (BYTES, "application/pdf")
        named = work("${vars.BASE}/store", "PUT", blob="${input}", headers={"content-type": "image/png"})
        await b.completed(named, input=reference)
        assert b.service.calls[1].headers["content-type"] == "image/png"
        await b.completed(its, input=await kept(b, b"", None))
        assert (b.service.calls[2].body, b.service.calls[2].headers["content-type"]) == (
            b"",
            "application/octet-stream",
        )


@pytest.mark.parametrize(
    "value",
    [
        "b_" + "0" * 32,
        "",
        "\0",
        "\ud800",
        "../../etc/passwd",
        "x" * 500,
        7,
        None,
        [],
        {},
        {"blob": 7},
        {"blob": {"blob": "x"}},
    ],
)
async def test_a_made_up_blob_is_refused_before_anything_is_sent(value: Any) -> None:
    async with long_bench() as b:
        await kept(b)
        for body in BODIES:
            error = await b.failed(work("${vars.BASE}/store", "POST", **body), input=value)
            assert (error.code, error.in_doubt, error.retryable) == ("invalid_request", False, False)
        assert b.service.calls == []


async def test_a_blob_of_another_run_is_as_unknown_as_a_made_up_one() -> None:
    async with long_bench() as b:
        reference = await kept(b)
        for body in BODIES:
            error = await b.failed(work("${vars.BASE}/store", "POST", **body), input=reference, run_id="r_2")
            assert error.code == "invalid_request"
            assert "this run has no such blob" in error.message
        assert b.service.calls == []


async def test_a_store_that_cannot_be_read_is_tried_again() -> None:
    async with long_bench() as b:
        reference = await kept(b)
        b.blobs.unwell = True
        error = await b.failed(work("${vars.BASE}/store", "POST", blob="${input}"), input=reference)
        assert (error.code, error.retryable, error.in_doubt) == ("blob_unavailable", True, False)
        assert b.service.calls == []


async def test_what_is_shown_of_a_request_is_the_reference() -> None:
    async with long_bench() as b:
        b.service.on("/store", Answer(422))
        reference = await kept(b)
        error = await b.failed(work("${vars.BASE}/store", "POST", blob="${input}"), input=reference)
        assert error.request["blob"]["blob"] == reference["blob"]


async def test_a_correction_may_name_another_blob_of_the_run() -> None:
    async with long_bench() as b:
        b.service.on("/store", Answer(200))
        wrong, right = await kept(b), await kept(b, b"right", "text/plain")
        its = work("${vars.BASE}/store", "POST", blob="${input}")
        await b.completed(its, input=wrong, correction={"blob": right["blob"]})
        form = work("${vars.BASE}/store", "POST", multipart={"file": "${input}", "n": 1})
        await b.completed(form, input=wrong, correction={"multipart": {"file": {"blob": right["blob"]}, "n": None}})
        assert b.service.calls[0].body == b"right"
        assert b"right" in b.service.calls[1].body
        assert b'name="n"' not in b.service.calls[1].body


async def test_a_form_with_files_byte_for_byte() -> None:
    async with long_bench() as b:
        b.service.on("/upload", Answer(201))
        reference = await kept(b, b"%PDF-1.7\r\n--x", "application/pdf")
        form = {
            "title": "Über\r\nuns",
            "count": 3,
            "draft": True,
            "nothing": None,
            "tag": ["a", "b"],
            "file": {"blob": "${input}", "filename": 'a"b\r\nX-Evil: 1.pdf'},
            "whole": "${input}",
            "meta": {"text": '{"a": 1}', "content_type": "application/json"},
        }
        await b.completed(work("${vars.BASE}/upload", "POST", multipart=form), input=reference)
        call = b.service.calls[0]
    essence, _, boundary = call.headers["content-type"].partition("; boundary=")
    assert essence == "multipart/form-data"
    mark = f"--{boundary}\r\nContent-Disposition: form-data; "
    parts = [
        'name="title"\r\n\r\nÜber\r\nuns',
        'name="count"\r\n\r\n3',
        'name="draft"\r\n\r\ntrue',
        'name="tag"\r\n\r\na',
        'name="tag"\r\n\r\nb',
        'name="file"; filename="a%22b%0D%0AX-Evil: 1.pdf"\r\nContent-Type: application/pdf\r\n\r\n%PDF-1.7\r\n--x',
        'name="whole"; filename="blob"\r\nContent-Type: application/pdf\r\n\r\n%PDF-1.7\r\n--x',
        'name="meta"\r\nContent-Type: application/json\r\n\r\n{"a": 1}',
    ]
    assert call.body.decode() == "".join(f"{mark}{part}\r\n" for part in parts) + f"--{boundary}--\r\n"
    assert int(call.headers["content-length"]) == len(call.body)


async def test_a_form_is_read_by_others_as_it_was_meant() -> None:
    blobs = MemoryBlobs()
    reference = await blobs.put_blob("r_1", BYTES, None)
    parts = await parts_of(
        {"file": {"blob": reference, "filename": "ü.bin"}, "n": 1.5}, BlobReader(blobs, "r_1", 99_999)
    )
    body, content_type = encode(parts)
    parsed = message_from_bytes(f"Content-Type: {content_type}\r\n\r\n".encode() + body)
    assert [part.get_payload(decode=True) for part in parsed.get_payload()] == [BYTES, b"1.5"]  # type: ignore[union-attr]


async def test_a_form_made_again_is_the_same_and_its_boundary_is_not_in_it() -> None:
    reader = BlobReader(MemoryBlobs(), "r_1", 0)
    first, its_type = encode(await parts_of({"a": "1", "b": "2"}, reader))
    assert (first, its_type) == encode(await parts_of({"a": "1", "b": "2"}, reader))
    assert its_type != encode(await parts_of({"a": "1", "b": "3"}, reader))[1]
    assert encode([]) == (f"--{encode([])[1][-40:]}--\r\n".encode(), encode([])[1])


async def test_an_attempt_made_again_and_a_redirect_send_the_form_again() -> None:
    async with long_bench() as b:
        b.service.on("/upload", Answer(503), Answer(307, None, {"Location": "/elsewhere"}))
        b.service.on("/elsewhere", Answer(201))
        its = work("${vars.BASE}/upload", "POST", multipart={"file": "${input}"})
        reference = await kept(b)
        await b.failed(its, input=reference)
        await b.completed(its, input=reference, number=2)
        assert len({(call.body, call.headers["content-type"]) for call in b.service.calls}) == 1
        assert BYTES in b.service.calls[2].body


@pytest.mark.parametrize(
    ("form", "why"),
    [
        ({"file": {"filename": "x"}}, "multipart.file: expected text, or a mapping with blob or text"),
        ({"file": {"blob": "b", "text": "t"}}, "multipart.file: expected text, or a mapping with blob or text"),
        ({"file": {"text": "t", "filname": "x"}}, "multipart.file: expected text, or a mapping with blob or text"),
        ({"file": {"text": ["t"]}}, "multipart.file: expected text, found a list"),
        ({"file": {"text": "t", "content_type": "a/b\r\nX: 1"}}, "holds a line break"),
        ({"file": {"text": "t", "filename": 1.5, "content_type": {}}}, "expected text, found a mapping"),
        ({"file": "\ud800"}, "half of a surrogate pair"),
        ({"\ud800": "x"}, "half of a surrogate pair"),
        ({"file": [["x"]]}, "expected text, found a list"),
        ("text", "multipart: expected a mapping, found text"),
    ],
)
async def test_a_form_that_is_none_is_refused(form: Any, why: str) -> None:
    with pytest.raises(RequestInvalid) as refused:
        encode(await parts_of(form, BlobReader(MemoryBlobs(), "r_1", 1000)))
    assert why in str(refused.value)


async def test_the_blobs_of_one_request_are_limited_together() -> None:
    async with long_bench(max_blob_bytes=15_000) as b:
        reference = await kept(b)
        error = await b.failed(
            work("${vars.BASE}/x", "POST", multipart={"f": ["${input}", "${input}"]}), input=reference
        )
        assert (error.code, b.service.calls) == ("invalid_request", [])
        assert "larger than 15000 bytes together" in error.message


async def test_a_form_arrives_at_a_real_parser() -> None:
    seen: dict[str, Any] = {}

    async def upload(request: web.Request) -> web.Response:
        form = await request.post()
        file = form["file"]
        assert isinstance(file, web.FileField)
        seen.update(name=file.filename, type=file.content_type, bytes=file.file.read(), n=form["n"])
        return web.json_response({})

    app = web.Application()
    app.router.add_post("/", upload)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        async with long_bench() as b:
            form = {"file": {"blob": "${input}", "filename": "r.pdf"}, "n": 1}
            url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
            await b.completed(work(url, "POST", multipart=form), input=await kept(b))
    finally:
        await runner.cleanup()
    assert seen == {"name": "r.pdf", "type": "application/pdf", "bytes": BYTES, "n": "1"}


async def test_a_secret_in_a_form_goes_to_no_other_origin_and_is_not_shown() -> None:
    async with long_bench({"TOKEN": "t0p-secret-value"}) as b, scripted() as stranger:
        b.service.on("/x", Answer(307, None, {"Location": f"{stranger.url}/x"}))
        error = await b.failed(work("${vars.BASE}/x", "POST", multipart={"t": "${secrets.TOKEN}"}))
        assert (error.code, stranger.calls) == ("blocked_address", [])
        assert "t0p-secret-value" not in json.dumps(error.to_json())
