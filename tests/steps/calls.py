"""Steps and calls as tests want them: plain values in, the engine's objects out."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from mcp_workflows.definition.expressions import ROOTS, Template, Variables, compile_expression, compile_text
from mcp_workflows.definition.program import Auth, HttpWork
from mcp_workflows.engine.outcome import Completed, Failed, Outcome, StepCall, StepError
from mcp_workflows.steps import Environment, Steps
from tests.services.misbehaving import Misbehaving, misbehaving

VARIABLES = Variables(ROOTS)


def template(shape: Any) -> Template:
    """Every text in ``shape`` is compiled."""
    return compile_text(shape, VARIABLES) if isinstance(shape, str) else Template.of(_compiled(shape))


def _compiled(shape: Any) -> Any:
    match shape:
        case str():
            return compile_text(shape, VARIABLES)
        case dict():
            return {key: _compiled(value) for key, value in shape.items()}  # pyright: ignore[reportUnknownVariableType]
        case list():
            return [_compiled(value) for value in shape]  # pyright: ignore[reportUnknownVariableType]
        case _:
            return shape


def work(
    url: str,
    method: str = "GET",
    *,
    json: Any = None,
    form: Any = None,
    text: Any = None,
    multipart: Any = None,
    blob: Any = None,
    query: Any = None,
    headers: Mapping[str, Any] | None = None,
    auth: tuple[str, ...] | None = None,
    success: tuple[str, ...] | str = ("2xx",),
    idempotency_key: str | bool | None = None,
    **more: Any,
) -> HttpWork:
    """``success`` as one text is an expression; ``auth`` is the scheme and its parts."""
    bodies = {"json": json, "form": form, "text": text, "multipart": multipart, "blob": blob}
    kind = next((kind for kind, body in bodies.items() if body is not None), None)
    return HttpWork(
        method=method,
        url=template(url),
        query=template(query) if query is not None else None,
        headers=tuple((name, template(value)) for name, value in (headers or {}).items()),
        body_kind=kind,  # pyright: ignore[reportArgumentType]
        body=template(bodies[kind]) if kind else None,
        auth=Auth(auth[0], tuple(map(template, auth[1:]))) if auth else None,  # pyright: ignore[reportArgumentType]
        success=compile_expression(success, VARIABLES) if isinstance(success, str) else success,
        idempotency_key=template(idempotency_key) if isinstance(idempotency_key, str) else idempotency_key,  # pyright: ignore[reportArgumentType]
        **more,
    )


@dataclass(slots=True)
class Bench:
    """Steps in front of a misbehaving service."""

    service: Misbehaving
    steps: Steps
    secrets: dict[str, str] = field(default_factory=dict[str, str])
    declared: tuple[str, ...] = ()
    """Further secrets that the definition declares."""

    async def attempt(
        self,
        path: str,
        method: str = "GET",
        *,
        input: Any = None,  # noqa: A002  # as the language calls it
        timeout: float | None = 20.0,  # noqa: ASYNC109  # the call's own
        key: str = "key-1",
        correction: Any = None,
        **options: Any,
    ) -> Outcome:
        """``path`` may be a whole URL."""
        url = f"${{vars.BASE}}{path}" if path.startswith("/") else path
        return await self.steps.attempt(
            StepCall(
                run_id="r_1",
                path="charge",
                attempt=1,
                work=work(url, method, **options),
                values={"input": input, "vars": {"BASE": self.service.url}},
                idempotency_key=key,
                timeout=timeout,
                correction=correction,
                secrets=(*self.secrets, *self.declared),
            )
        )

    async def completed(self, path: str, method: str = "GET", **options: Any) -> Any:
        """The result of an attempt that must succeed."""
        outcome = await self.attempt(path, method, **options)
        assert isinstance(outcome, Completed), outcome
        return outcome.result

    async def failed(self, path: str, method: str = "GET", **options: Any) -> StepError:
        """The error of an attempt that must fail."""
        outcome = await self.attempt(path, method, **options)
        assert isinstance(outcome, Failed), outcome
        return outcome.error


@contextlib.asynccontextmanager
async def bench(
    secrets: dict[str, str] | None = None, *, declared: tuple[str, ...] = (), **environment: Any
) -> AsyncGenerator[Bench]:
    """The options are ``Environment``'s."""
    known = secrets or {}
    async with misbehaving() as service:
        steps = Steps(Environment(secret=known.get, **environment))
        try:
            yield Bench(service, steps, known, declared)
        finally:
            await steps.close()


def body_path(body: bytes, content_type: str = "application/json", status: int = 200) -> str:
    """Where the misbehaving service answers with these bytes."""
    encoded = base64.urlsafe_b64encode(body).decode()
    return f"/body?status={status}&type={quote(content_type, safe='')}&b64={encoded}"
