"""``/a/{token}``: the page on which a person decides what a run asks. The link says which decision; it can be made once.

Where people have to authenticate they enter their token here as well, and it must allow ``workflows:approve``: an agent's
does not. Elsewhere only this machine can reach the page, and whoever has the link may decide. The page has no script, and
lets none run.
"""

from __future__ import annotations

import asyncio
import hmac
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from mcp_workflows.access.links import ANYBODY, Asked, Links
from mcp_workflows.access.principal import APPROVE
from mcp_workflows.access.rate import Rate
from mcp_workflows.access.verifying import Verifier
from mcp_workflows.clock import Clock
from mcp_workflows.definition.program import Json
from mcp_workflows.errors import CallerError, DefinitionInvalid, InputRefused, RunRefused, SystemUnwell, UnknownRun
from mcp_workflows.runtime.runs import Runs
from mcp_workflows.runtime.views import Asking
from mcp_workflows.web.form import PREFIX, Form, answer_lines, filled_in, form_of
from mcp_workflows.web.rendering import Renderer, style
from mcp_workflows.web.session import COOKIE, GOOD_FOR, PURPOSE, Sessions
from mcp_workflows.web.steps import given_lines, step_lines

VIA = "web"
MAX_BYTES = 1 << 20
MAX_FIELDS = 1000
LOGINS_PER_MINUTE = 20
"""Tokens that may be tried from one address on one link."""
_LONGEST_TOKEN = 16 * 1024


@dataclass(frozen=True, slots=True)
class _Visit:
    """One request, as far as it is known who makes it. ``cookie``: the session's, so that a form is good in it alone."""

    link: str
    asked: Asked
    person: str
    cookie: str


class _Turned(Exception):
    """The request ends with this answer."""

    def __init__(self, response: Response) -> None:
        self.response = response


class Pages:
    """``verifier`` reads people's tokens, if they need any; ``rate`` is how often each may ask."""

    def __init__(
        self, runs: Runs, links: Links, verifier: Verifier | None, clock: Clock, rate: Rate | None = None
    ) -> None:
        self._runs = runs
        self._links = links
        self._verifier = verifier
        self._rate = rate
        self._logins = Rate(LOGINS_PER_MINUTE)
        self._sessions = Sessions(runs.key(PURPOSE))
        self._clock = clock
        self._render = Renderer()

    def app(self) -> Starlette:
        """To be mounted where ``Links`` lead."""
        return Starlette(
            routes=[
                Route("/style.css", style, methods=["GET"]),
                Route("/{token}", self._get, methods=["GET"]),
                Route("/{token}", self._post, methods=["POST"]),
            ],
            exception_handlers={404: self._unknown_address, 405: self._unknown_address},
        )

    async def _unknown_address(self, _request: Request, _error: Exception) -> Response:
        return self._gone()

    async def _get(self, request: Request) -> Response:
        try:
            visit = await self._visit(request)
            return self._shown(visit, await self._asking(visit))
        except _Turned as turned:
            return turned.response
        except SystemUnwell as unwell:
            return self._unwell(unwell)

    async def _post(self, request: Request) -> Response:
        try:
            if not self._is_from_here(request):
                return self._refused("This came from elsewhere", "Open the link itself, and decide there.", 403)
            form = await _form(request)
            match form.get("action"):
                case "login":
                    return await self._login(request, form)
                case "logout":
                    return self._logout(request)
                case _:
                    return await self._decide(await self._visit(request), form)
        except _Turned as turned:
            return turned.response
        except (HTTPException, ClientDisconnect):
            return self._refused("That is too much", "What was sent is larger than a decision can be.", 413)
        except SystemUnwell as unwell:
            return self._unwell(unwell)

    async def _visit(self, request: Request) -> _Visit:
        link = str(request.path_params["token"])
        asked = self._links.read(link)
        if asked is None:
            raise _Turned(self._gone())
        if self._verifier is None:
            return _Visit(link, asked, ANYBODY, "")
        cookie = request.cookies.get(COOKIE, "")
        token = self._sessions.open(cookie, self._clock()) if cookie else None
        principal = await self._verifier.principal(token) if token else None
        if principal is None:
            # From another site's page the browser brings no cookie along; from this page to itself it does.
            arrives = request.method == "GET" and request.headers.get("sec-fetch-site") == "cross-site" and not cookie
            raise _Turned(self._render("arriving.html") if arrives else self._login_page())
        if APPROVE not in principal.scopes:
            text = f"The token of {principal.actor} does not allow to decide: it lacks the scope {APPROVE}."
            raise _Turned(self._refused("You may not decide this", text, 403, leave=True))
        self._count(self._rate, principal.actor)
        return _Visit(link, asked, principal.actor, cookie)

    def _count(self, rate: Rate | None, who: str) -> None:
        seconds = 0 if rate is None else math.ceil(rate.wait(who, asyncio.get_running_loop().time()))
        if seconds:
            response = self._refused("Too often", f"Please try again in {seconds} seconds.", 429)
            response.headers["Retry-After"] = str(seconds)
            raise _Turned(response)

    async def _asking(self, visit: _Visit) -> Asking:
        """What is asked, if this person is to see it."""
        try:
            asking = await self._runs.asked(visit.asked.run_id, visit.asked.wait, actor=None)
        except (UnknownRun, DefinitionInvalid):
            raise _Turned(self._gone()) from None
        wait = asking.wait
        if wait is not None and wait.approvers is not None and visit.person not in wait.approvers:
            text = f"This is for {_listed(wait.approvers)} to decide, and you are {visit.person}."
            raise _Turned(self._refused("You may not decide this", text, 403, leave=self._verifier is not None))
        if wait is None:
            raise _Turned(self._gone())
        if asking.answer is None and (asking.expired_at or not asking.is_open):
            raise _Turned(self._render("over.html", 410, asking=asking, wait=wait))
        return asking

    def _shown(self, visit: _Visit, asking: Asking, *, late: bool = False) -> Response:
        assert asking.wait is not None
        if asking.answer is None:
            return self._ask(visit, asking, form_of(asking.wait))
        body: Mapping[str, Any] = asking.answer.body
        return self._render(
            "decided.html", 409 if late else 200, asking=asking, wait=asking.wait, answer=asking.answer, late=late,
            approved=body.get("decision") == "approved", via=_through(body.get("via")),
            filled=answer_lines(asking.wait, body.get("form") or {}), given=given_lines(asking.run.input),
        )  # fmt: skip

    def _ask(
        self, visit: _Visit, asking: Asking, form: Form, *, note: str = "", errors: Sequence[str] = ()
    ) -> Response:
        steps, left_out = step_lines(asking)
        wrong = bool(errors) or form.is_wrong
        return self._render(
            "ask.html", 422 if wrong else 200, asking=asking, wait=asking.wait, form=form, note=note, wrong=wrong,
            errors=[*errors, *form.errors], steps=steps, left_out=left_out, given=given_lines(asking.run.input),
            person=visit.person if self._verifier else None, can_leave=self._verifier is not None,
            form_token=self._form_token(visit.link, visit.cookie),
        )  # fmt: skip

    async def _decide(self, visit: _Visit, given: FormData) -> Response:
        asking = await self._asking(visit)
        if asking.answer is not None:
            return self._shown(visit, asking, late=True)
        assert asking.wait is not None
        form, note, decision = form_of(asking.wait), _text(given, "note").strip(), _text(given, "decision")
        form, data = filled_in(form, {key: _texts(given, key) for key in given if key.startswith(PREFIX)})
        if not self._is_ours(visit, given):
            return self._ask(visit, asking, form, note=note, errors=["The page was too old. Please decide again."])
        if decision not in ("approved", "rejected"):
            return self._ask(visit, asking, form, note=note, errors=["Choose Approve or Reject."])
        if decision == "approved" and form.is_wrong:
            return self._ask(visit, asking, form, note=note)
        answer: dict[str, Json] = {"decision": decision} | ({"note": note} if note else {})
        if decision == "approved" and form.entries:
            answer["form"] = data
        try:
            await self._runs.answer(
                visit.asked.run_id, visit.asked.wait, answer, actor=None, by=visit.person, via=VIA, person=True
            )
        except InputRefused as refused:
            return self._ask(visit, asking, form, note=note, errors=[str(refused)])
        except (RunRefused, CallerError):  # somebody else was faster, or its time ran out
            return self._shown(visit, await self._asking(visit), late=True)
        return RedirectResponse(visit.link, 303)

    async def _login(self, request: Request, form: FormData) -> Response:
        link, token = str(request.path_params["token"]), _text(form, "token").strip()
        if self._links.read(link) is None or self._verifier is None:
            return self._gone()
        self._count(self._logins, f"{request.client.host if request.client else ''} {link}")
        known = self._verifier.principal(token) if token and token.isascii() and len(token) <= _LONGEST_TOKEN else None
        if known is None or await known is None:
            return self._login_page("This token is not known here, or is not valid any more.")
        sealed = self._sessions.seal(token, self._clock())
        if sealed is None:
            return self._login_page("This token is too long for a browser to keep.")
        response = RedirectResponse(link, 303)
        response.set_cookie(
            COOKIE, sealed, max_age=int(GOOD_FOR.total_seconds()), path=self._links.path, secure=self._links.secure,
            httponly=True, samesite="strict",
        )  # fmt: skip
        return response

    def _logout(self, request: Request) -> Response:
        link = str(request.path_params["token"])
        if self._links.read(link) is None:
            return self._gone()  # and leads nowhere else
        response = RedirectResponse(link, 303)
        response.delete_cookie(
            COOKIE, path=self._links.path, secure=self._links.secure, httponly=True, samesite="strict"
        )
        return response

    def _is_from_here(self, request: Request) -> bool:
        """Browsers say where a form was sent from. What comes without both headers comes from no page at all.

        A proxy may put another Host header in place of the one that people know.
        """
        origin = request.headers.get("origin")
        hosts = {request.headers.get("host", "").lower(), self._links.host}
        if origin is not None and urlsplit(origin).netloc.lower() not in hosts:
            return False
        return request.headers.get("sec-fetch-site", "same-origin") in {"same-origin", "none"}

    def _form_token(self, link: str, cookie: str) -> str:
        return self._sessions.form_token(link, cookie)

    def _is_ours(self, visit: _Visit, given: FormData) -> bool:
        return hmac.compare_digest(
            _text(given, "form_token").encode(), self._form_token(visit.link, visit.cookie).encode()
        )

    def _login_page(self, error: str | None = None) -> Response:
        return self._render("login.html", 401, error=error)

    def _gone(self) -> Response:
        return self._render("gone.html", 404)

    def _refused(self, heading: str, text: str, status: int, *, leave: bool = False) -> Response:
        return self._render("refused.html", status, heading=heading, text=text, can_leave=leave)

    def _unwell(self, unwell: SystemUnwell) -> Response:
        said = unwell.outside if self._verifier is not None else str(unwell)
        text = f"{said} It is not known whether your decision was taken: open the link again in a few seconds."
        return self._refused("Something is wrong here", text, 503)


async def _form(request: Request) -> FormData:
    length = request.headers.get("content-length", "")
    if not length.isdecimal() or int(length) > MAX_BYTES:
        raise HTTPException(413)
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
        raise HTTPException(413)
    return await request.form(max_files=0, max_fields=MAX_FIELDS)


def _text(form: FormData, key: str) -> str:
    value = form.get(key)
    return value if isinstance(value, str) else ""


def _texts(form: FormData, key: str) -> list[str]:
    return [value for value in form.getlist(key) if isinstance(value, str)]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:10]) or "nobody"


_WAYS: Mapping[str, str] = {
    VIA: "on this page",
    "cli": "at the terminal",
    "mcp": "through an agent",
    "elicitation": "in a form of their client",
    "task": "in a form of their client",
}


def _through(via: object) -> str:
    return _WAYS.get(str(via), f"through {via}")
