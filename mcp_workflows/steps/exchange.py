"""One exchange: a request is made ready, sent, followed over redirects, and its answer read and judged.

What a failure is called follows DESIGN's first promise: *definite* when nothing was sent or the service refused (4xx), *in
doubt* when a request that may change something left and no refusal came back. That includes success nobody can keep: a
POST answered 200 with an unreadable body did take effect, so it is neither done nor harmless, and is not made again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from yarl import URL

from mcp_workflows.clock import Clock
from mcp_workflows.definition.expressions import ExpressionFailed
from mcp_workflows.definition.program import SAFE_METHODS, HttpWork, Json
from mcp_workflows.engine.outcome import Completed, Failed
from mcp_workflows.errors import SystemUnwell
from mcp_workflows.steps import outside, redirect, verdict
from mcp_workflows.steps.answer import AnswerUnreadable, decode, decode_leniently
from mcp_workflows.steps.attempt import Attempt, Values, cut
from mcp_workflows.steps.blobs import BlobReader, BlobUnavailable, described
from mcp_workflows.steps.body import read_body
from mcp_workflows.steps.client import Broken, Client, NotHttp, Response
from mcp_workflows.steps.environment import Environment
from mcp_workflows.steps.gate import Gate
from mcp_workflows.steps.guard import AddressBlocked, Guard
from mcp_workflows.steps.pool import NotConnected
from mcp_workflows.steps.request import OUTSIDE, Origin, Request, RequestInvalid

MAX_EXPLANATION = 64 << 10
"""Bytes of the body that are read of an answer that says no: it is kept with every failed attempt."""


class Exchanged(NamedTuple):
    """What came of an exchange. ``blob`` is the body of a success that is to lie outside the record, not yet kept."""

    outcome: Completed | Failed
    blob: bytes | None = None
    redirected_to: URL | None = None
    """Whose answer it is, after redirects."""


class Exchanges:
    """All exchanges of a process."""

    def __init__(self, environment: Environment, clock: Clock) -> None:
        self.guard = Guard(environment.http_allowed_hosts)
        self.client = Client(self.guard)
        self._gate = Gate(environment.max_per_host)
        self._blobs = environment.blobs
        self.max_bytes = environment.max_answer_bytes
        self.max_blob_bytes = environment.max_blob_bytes
        self.clock = clock

    async def make(self, attempt: Attempt, work: HttpWork, prepare: Callable[[], Request]) -> Exchanged:
        """Sends what ``prepare`` gives, with its body where that lies outside. ``attempt`` is kept up to date on the way."""
        attempt.in_doubt = False
        attempt.label = work.method
        try:
            request = prepare()
            if work.body_kind in OUTSIDE:
                request = await outside.with_body(request, work.body_kind, self._blob_reader(attempt))
        except ExpressionFailed as failure:
            return Exchanged(_not_rendered(attempt, failure))
        except RequestInvalid as invalid:
            return Exchanged(attempt.failed("invalid_request", f"{attempt.label} was not sent: {invalid}"))
        except AddressBlocked as blocked:
            return Exchanged(attempt.failed("blocked_address", f"{attempt.label} was not sent: {blocked}"))
        except BlobUnavailable as trouble:
            message = f"{attempt.label} was not sent: its body cannot be read now: {trouble}"
            return Exchanged(attempt.failed("blob_unavailable", message, retryable=True))
        attempt.label = f"{work.method} {cut(request.url.raw_path, 200)}"
        attempt.request = request.shown
        host = request.origin
        if not self._gate.enter(host):
            await self._wait(attempt, host)
        try:
            flight = _Flight(self, attempt, work, request)
            outcome = await flight.run()
            url = flight.request.url
            return Exchanged(outcome, flight.blob, None if url is request.url else url)
        finally:
            self._gate.leave(host)

    async def _wait(self, attempt: Attempt, host: Origin) -> None:
        """A crowd in front of the host is nobody's slowness: the attempt's time begins when it has its place."""
        deadline = attempt.deadline
        if deadline is not None:
            deadline.suspend()
        await self._gate.wait(host)
        if deadline is not None:
            deadline.renew()

    def _blob_reader(self, attempt: Attempt) -> BlobReader:
        assert self._blobs is not None
        return BlobReader(self._blobs, attempt.call.run_id, self.max_blob_bytes)

    async def keep(self, attempt: Attempt, exchanged: Exchanged) -> Completed | Failed:
        """The outcome, its body kept where it lies outside the record."""
        outcome = exchanged.outcome
        if exchanged.blob is None or isinstance(outcome, Failed):
            return outcome
        assert self._blobs is not None
        status, body = outcome.result["status"], outcome.result["body"]
        try:
            blob = await self._blobs.put_blob(attempt.call.run_id, exchanged.blob, body["content_type"])
        except SystemUnwell as unwell:
            message = f"{attempt.label} answered {status}, but its body could not be kept: {unwell}"
            return attempt.failed("blob_unavailable", message, status=status, retryable=True)
        return Completed({**outcome.result, "body": {"blob": blob, **body}})

    def check_url(self, work: HttpWork, url: URL) -> None:
        """Raises ``AddressBlocked`` for what this node, or this step, may not speak to."""
        self.guard.check_url(url)
        if work.allowed_hosts:
            _step_guard(work.allowed_hosts).check_url(url)

    async def close(self) -> None:
        await self.client.close()


@lru_cache(maxsize=256)
def _step_guard(allowed: tuple[str, ...]) -> Guard:
    return Guard(allowed, named="the step's allowed_hosts")


def _not_rendered(attempt: Attempt, failure: ExpressionFailed) -> Failed:
    lacking = [name for name in attempt.missing if f"secrets.{name}" in failure.source]
    if lacking:
        setting = f"the secret {lacking[0]} has no value here; set MCP_WORKFLOWS_SECRET_{lacking[0]}"
        return attempt.failed("settings", f"{attempt.label} was not sent: {setting}")
    return attempt.failed("expression", f"{attempt.label} was not sent: {failure}")


@dataclass(slots=True)
class _Flight:
    """One attempt on its way, over all its redirects."""

    exchanges: Exchanges
    attempt: Attempt
    work: HttpWork
    request: Request
    acted: bool = False
    """Some service dealt with a request that may change something and pointed elsewhere for its answer."""
    blob: bytes | None = None
    """The body, where it lies outside the record."""
    label: str = field(init=False)
    first: Request = field(init=False)

    def __post_init__(self) -> None:
        self.label, self.first = self.attempt.label, self.request

    async def run(self) -> Completed | Failed:
        for hops in range(redirect.MAX_REDIRECTS + 1):
            try:
                self.exchanges.check_url(self.work, self.request.url)
                response = await self.exchanges.client.send(self.request, self.work.connect_timeout, self.on_sent)
            except AddressBlocked as blocked:
                return self.attempt.failed("blocked_address", self._while("was not sent", f"{blocked}"))
            except NotConnected as failure:
                host = self.request.url.host_port_subcomponent
                why = f"no connection to {host}: {failure}"
                return self.attempt.failed("connect", self._while("was not sent", why), retryable=True)
            except Broken as failure:
                why = f"the connection broke before an answer came ({failure})"
                return self.attempt.failed("reset", f"{self.attempt.label}: {why}", retryable=True)
            except NotHttp as failure:
                why = f"what came back is no HTTP answer ({failure})"
                return self.attempt.failed("answer_unreadable", f"{self.attempt.label}: {why}")
            try:
                if not self._leads_on(response):
                    return await self._judge(response)
                failure = self._follow(response, hops)
                if failure is not None:
                    return failure
            finally:
                response.release()
        raise AssertionError("the last hop answers or fails")

    def on_sent(self) -> None:
        self.attempt.in_doubt = self.acted or self.request.method not in SAFE_METHODS

    def _while(self, what: str, why: str) -> str:
        if self.acted:
            return f"{self.attempt.label}: the answer could not be fetched: {why}"
        return f"{self.attempt.label} {what}: {why}"

    def _leads_on(self, response: Response) -> bool:
        if response.status not in redirect.STATUSES or "Location" not in response.headers:
            return False
        return not (isinstance(self.work.success, tuple) and verdict.admits(self.work.success, response.status))

    def _follow(self, response: Response, hops: int) -> Failed | None:
        """Makes the redirect's request the next one, or says why not."""
        status = response.status
        if redirect.becomes_get(self.request.method, status):
            self.acted = self.acted or self.request.method not in SAFE_METHODS
        else:
            self.attempt.in_doubt = self.acted
        what = f"{self.attempt.label} answered {status}"
        if hops == redirect.MAX_REDIRECTS:
            message = f"{what}, a redirect more than the {redirect.MAX_REDIRECTS} that are followed"
            return self.attempt.failed("too_many_redirects", message, status=status)
        try:
            self.request = redirect.redirected(self.request, status, response.headers["Location"])
            self.exchanges.check_url(self.work, self.request.url)
        except redirect.LocationInvalid as invalid:
            return self.attempt.failed(f"http_{status}", f"{what}, but {invalid}", status=status)
        except AddressBlocked as blocked:
            message = f"{what}, a redirect that is not followed: {blocked}"
            return self.attempt.failed("blocked_address", message, status=status)
        self.attempt.label = f"{self.label} (redirected to {self._place()})"
        return None

    def _place(self) -> str:
        """Who is asked now: who reads of a failure would look for it where the step's own URL leads."""
        url = self.request.url
        return cut(url.raw_path if self.request.origin == self.first.origin else f"{url.origin()}{url.raw_path}", 200)

    async def _judge(self, response: Response) -> Completed | Failed:
        status = response.status
        attempt, work = self.attempt, self.work
        if verdict.refused(status):
            attempt.in_doubt = self.acted
        if isinstance(work.success, tuple) and not verdict.admits(work.success, status):
            return await self._refused(response)
        explains = status >= 400
        if work.response == "none" and not explains:
            return self._kept(response, None, b"")
        content_type = response.headers.get("Content-Type", "")
        mode = "auto" if work.response == "blob" else work.response
        if explains:
            raw = await self._explanation(response)
            return self._kept(response, decode_leniently(raw, content_type, mode), raw)
        outside = work.response == "blob"
        body = await read_body(response, self.exchanges.max_blob_bytes if outside else self.exchanges.max_bytes)
        if body.trouble is not None:
            message = f"{attempt.label} answered {status}, but its body {body.trouble}"
            return attempt.failed(body.code, message, status=status, retryable=body.retryable)
        if outside:
            self.blob = body.raw
            readable = verdict.header_map(response.headers).get("content-type")
            return self._kept(response, described(body.raw, readable or None), b"")
        try:
            content = decode(body.raw, content_type, mode)
        except AnswerUnreadable as unreadable:
            message = f"{attempt.label} answered {status}, but its body {unreadable}"
            return attempt.failed("answer_unreadable", message, status=status)
        return self._kept(response, content, body.raw)

    def _kept(self, response: Response, content: Json, raw: bytes) -> Completed | Failed:
        """The result as it may be recorded, and whether it is the author's success."""
        headers = verdict.header_map(response.headers)
        result: Json = {"status": response.status, "headers": headers, "body": content}
        redactor = self.attempt.redactor
        if redactor and redactor.may_touch(raw, headers.values()):
            result = redactor.json(result)
        if not isinstance(self.work.success, tuple):
            return self._by_expression(result, response)
        return Completed(result)

    def _by_expression(self, result: Json, response: Response) -> Completed | Failed:
        work, attempt, status = self.work, self.attempt, response.status
        assert not isinstance(work.success, tuple)
        try:
            if work.success.evaluate_bool(Values(attempt.values, {"result": result})):
                return Completed(result)
        except ExpressionFailed as failure:
            message = f"{attempt.label} answered {status}, but success: {failure}"
            return attempt.failed("expression", message, status=status, body=result["body"])
        if status < 300:
            # The author's own reading of the answer: with this body the service says no.
            attempt.in_doubt = self.acted
        return self._says_no(response, result["body"])

    async def _refused(self, response: Response) -> Failed:
        raw = await self._explanation(response)
        content = decode_leniently(raw, response.headers.get("Content-Type", ""), "auto")
        return self._says_no(response, content)

    async def _explanation(self, response: Response) -> bytes:
        """As much of the body as explains a refusal, whatever becomes of the rest."""
        return (await read_body(response, min(self.exchanges.max_bytes, MAX_EXPLANATION), beginning=True)).raw

    def _says_no(self, response: Response, body: Json) -> Failed:
        status = response.status
        return self.attempt.failed(
            f"http_{status}",
            verdict.explained(self.attempt.label, status, self.attempt.redactor.json(body)),
            status=status,
            body=body,
            retryable=verdict.retryable(status),
            retry_after=verdict.retry_after(response.headers.get("Retry-After"), self.exchanges.clock()),
        )
