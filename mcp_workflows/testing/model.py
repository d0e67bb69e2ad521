"""A test file as Pydantic models: what it may say, and the JSON Schema that editors complete from."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BeforeValidator, ConfigDict, Discriminator, Field, Tag, WithJsonSchema, model_validator

from mcp_workflows.definition.model.fields import (
    Delay,
    Json,
    Language,
    Maybe,
    PlainText,
    SettingName,
    one_of,
    refuse,
)
from mcp_workflows.definition.phrases import describe

ANSWERS = ("output", "status", "error", "crash")
"""An answer has exactly one of these."""

STATUSES = ("completed", "failed", "cancelled", "paused", "waiting")


def _instant(value: object) -> object:
    try:
        instant = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        instant = None
    if instant is None or instant.tzinfo is None:
        raise refuse("value", f"{describe(value)} is no instant like 2026-11-22T09:00:00Z")
    return instant


def _one_or_several(value: Any) -> str:
    return "<several>" if isinstance(value, list) else "<one>"


def _text_or_parts(value: Any) -> str:
    return "<parts>" if isinstance(value, dict) else "<text>"


Instant = Annotated[datetime, BeforeValidator(_instant), WithJsonSchema({"type": "string", "format": "date-time"})]
StatusCode = Annotated[int, Field(ge=100, le=599)]


class ErrorAnswer(Language):
    """An attempt that fails."""

    code: PlainText = Field(description="As in docs/errors.md: connect, timeout, reset, … or a code of your own.")
    message: Maybe[PlainText] = Field(default=None)
    in_doubt: Maybe[bool] = Field(default=None, description="It is unknown whether the effect took place.")
    retryable: Maybe[bool] = Field(default=None, description="Another attempt may well succeed.")
    status: Maybe[StatusCode] = Field(default=None)
    body: Json = Field(default=None)
    details: Json = Field(default=None)
    retry_after: Maybe[Delay] = Field(default=None, description="What the service asked for.")


class Answer(Language):
    """How one attempt ends. Texts may hold ${index}, ${attempt} and ${request.…}."""

    output: Json = Field(default=None, description="It succeeds, and this is its output: of http the body.")
    status: Maybe[StatusCode] = Field(default=None, description="Of http: the service answers with this status.")
    headers: dict[str, PlainText] = Field(default_factory=dict[str, str], description="Beside status.")
    body: Json = Field(default=None, description="Beside status.")
    error: Maybe[
        Annotated[
            Annotated[PlainText, Tag("<text>")] | Annotated[ErrorAnswer, Tag("<parts>")],
            Discriminator(_text_or_parts),
        ]
    ] = Field(default=None, description="It fails: a code (timeout), or {code, message, in_doubt, …}.")
    crash: Maybe[Literal[True]] = Field(default=None, description="The server dies while the attempt is in flight.")
    takes: Maybe[Delay] = Field(default=None, description="How long the attempt lasts; no time at all by default.")

    @model_validator(mode="after")
    def _is_one_answer(self) -> Answer:
        given = [key for key in ANSWERS if key in self.model_fields_set]
        if len(given) != 1:
            found = " and ".join(given) or "none"
            raise refuse("value", f"an answer has exactly one of {', '.join(ANSWERS)}; found {found}")
        if self.status is None and self.model_fields_set & {"headers", "body"}:
            raise refuse("value", "headers and body belong to an answer with status")
        return self


Answers = Annotated[
    Annotated[Answer, Tag("<one>")] | Annotated[list[Answer], Tag("<several>"), Field(min_length=1)],
    Discriminator(_one_or_several),
]
"""One for all attempts, or a list with one for each, in the order they are made."""


class Signal(Language):
    """A signal, or a person's decision. It is given as soon as the run waits for it, or at an instant."""

    name: Maybe[PlainText] = Field(default=None, description="The signal's name.")
    data: Json = Field(default=None, description="What the signal brings.")
    step: Maybe[PlainText] = Field(default=None, description="The approval's step.")
    decision: Maybe[Annotated[Literal["approved", "rejected"], one_of("value", "approved", "rejected")]] = Field(
        default=None
    )
    by: PlainText = Field(default="tester", description="Who gives it.")
    note: Maybe[PlainText] = Field(default=None)
    form: Maybe[dict[str, Json]] = Field(default=None, description="What the approval's form asks for.")
    at: Maybe[Delay] = Field(default=None, description="So long after the start, whether the run waits or not.")

    @model_validator(mode="after")
    def _is_one_kind(self) -> Signal:
        given = self.model_fields_set
        if ("name" in given) == ("step" in given):
            raise refuse("value", "give a signal's name, or an approval's step and decision")
        if "step" in given and "decision" not in given:
            raise refuse("missing", 'an approval needs "decision": approved or rejected')
        foreign = given & ({"decision", "note", "form"} if "name" in given else {"data"})
        if foreign:
            kind = "a signal" if "name" in given else "an approval"
            raise refuse("value", f"{kind} has no {min(foreign)}")
        return self


class Resume(Language):
    """What a person does with a run that is paused, or failed with something left to do."""

    input: Maybe[dict[str, Json]] = Field(default=None)
    request: Maybe[dict[str, Json]] = Field(default=None)
    output: Json = Field(default=None)
    skip: Maybe[Literal[True]] = Field(default=None)
    again: Maybe[Literal[True]] = Field(default=None)
    at: Maybe[Delay] = Field(default=None)

    @model_validator(mode="after")
    def _is_one_correction(self) -> Resume:
        given = [key for key in ("request", "output", "skip", "again") if key in self.model_fields_set]
        if len(given) > 1:
            raise refuse("value", f"give only one of {', '.join(given)}")
        return self


class Cancel(Language):
    """The run is cancelled: as soon as it waits or is paused, or at an instant."""

    at: Maybe[Delay] = Field(default=None)
    compensate: bool = Field(default=True)


class ExpectedError(Language):
    """Only what is given is compared."""

    code: Maybe[PlainText] = Field(default=None)
    message: Maybe[PlainText] = Field(default=None, description="A part of it.")
    step: Maybe[PlainText] = Field(default=None, description="The path of the step that failed.")
    in_doubt: Maybe[bool] = Field(default=None)
    status: Maybe[int] = Field(default=None)
    body: Json = Field(default=None)
    details: Json = Field(default=None)
    attempts: Maybe[int] = Field(default=None)


class ExpectedCall(Language):
    """An attempt that was made."""

    step: PlainText
    request: Maybe[dict[str, Json]] = Field(default=None, description="method, url, path, query, headers, json, …")
    attempt: Maybe[Annotated[int, Field(ge=1)]] = Field(default=None)


class ExpectedStep(Language):
    """How a step ended."""

    status: Maybe[PlainText] = Field(default=None)
    output: Json = Field(default=None)
    error: Maybe[ExpectedError] = Field(default=None)
    attempts: Maybe[Annotated[int, Field(ge=0)]] = Field(default=None)


class TimeTaken(Language):
    """By the fake clock."""

    at_least: Maybe[Delay] = Field(default=None)
    at_most: Maybe[Delay] = Field(default=None)


def _took(value: Any) -> str:
    return "<bounds>" if isinstance(value, dict) else "<exact>"


Took: TypeAlias = Annotated[
    Annotated[Delay, Tag("<exact>")] | Annotated[TimeTaken, Tag("<bounds>")], Discriminator(_took)
]
Called: TypeAlias = Annotated[
    Annotated[PlainText, Tag("<text>")] | Annotated[ExpectedCall, Tag("<parts>")], Discriminator(_text_or_parts)
]


class Expect(Language):
    """What must hold at the end. Of mappings only the keys that are given are compared; null also means: not there."""

    status: Maybe[Annotated[Literal["completed", "failed", "cancelled", "paused", "waiting"], one_of("value", *STATUSES)]] = (
        Field(default=None, description="completed, if neither status, error nor refused is given.")
    )  # fmt: skip
    output: Json = Field(default=None, description="The run's result.")
    error: Maybe[ExpectedError] = Field(default=None, description="Why the run failed or is paused.")
    refused: Maybe[PlainText] = Field(default=None, description="No run is started: a part of what the caller is told.")
    calls: Maybe[list[Called]] = Field(
        default=None, description="Attempts in this order, others may be made between them; []: none at all."
    )
    not_called: Maybe[list[PlainText]] = Field(default=None)
    steps: dict[PlainText, ExpectedStep] = Field(default_factory=dict[str, ExpectedStep])
    compensation: Maybe[Annotated[Literal["none", "done", "incomplete"], one_of("value", "none", "done", "incomplete")]] = (
        Field(default=None)
    )  # fmt: skip
    undone: Maybe[list[PlainText]] = Field(default=None, description="Paths of all steps undone, in that order.")
    not_undone: Maybe[list[PlainText]] = Field(default=None, description="Paths of all steps that could not be undone.")
    waiting_for: Maybe[list[PlainText]] = Field(
        default=None, description="Paths of all signals and approvals that the run waits for."
    )
    took: Maybe[Took] = Field(default=None, description="By the fake clock: 3d, or {at_least, at_most}.")


class Test(Language):
    """One run and what must come of it."""

    __test__ = False

    name: PlainText
    input: dict[str, Json] = Field(default_factory=dict[str, Json])
    vars: dict[SettingName, Json] = Field(default_factory=dict[str, Json])
    steps: dict[str, Answers] = Field(default_factory=dict[str, Any], description="By path or id: how attempts end.")
    signals: list[Signal] = Field(default_factory=list[Signal])
    resume: Maybe[
        Annotated[
            Annotated[Resume, Tag("<one>")] | Annotated[list[Resume], Tag("<several>")],
            Discriminator(_one_or_several),
        ]
    ] = Field(default=None)
    cancel: Maybe[Cancel] = Field(default=None)
    starts_at: Maybe[Instant] = Field(default=None, description="What the fake clock says at first.")
    expect: Expect = Field(default_factory=Expect)


class TestFile(Language):
    """Tests of a definition."""

    __test__ = False
    model_config = ConfigDict(
        title="Tests", json_schema_extra={"patternProperties": {"^x-": {"description": "A place for anchors."}}}
    )

    definition: Maybe[PlainText] = Field(
        default=None, description="The file, from here; by default the one of the same name without .test."
    )
    vars: dict[SettingName, Json] = Field(default_factory=dict[str, Json], description="Instead of the definition's.")
    steps: dict[str, Answers] = Field(
        default_factory=dict[str, Any], description="Answers for all tests; a test's own win."
    )
    tests: Annotated[list[Test], Field(min_length=1)]

    @model_validator(mode="before")
    @classmethod
    def _leave_out_extensions(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {key: part for key, part in value.items() if not str(key).startswith("x-")}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]


def json_schema() -> dict[str, Any]:
    """The JSON Schema of test files, for editors."""
    schema = TestFile.model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
