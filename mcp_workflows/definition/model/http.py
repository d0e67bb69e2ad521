"""``http``: one request."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Discriminator, Field, Tag, model_validator

from mcp_workflows.definition.model.fields import (
    Duration,
    Host,
    IdempotencyKey,
    Json,
    Language,
    Maybe,
    Method,
    PlainText,
    Response,
    Status,
    Text,
    refuse,
)
from mcp_workflows.definition.model.long_http import CallbackOrTrue, Poll

BODIES = ("json", "form", "text", "multipart", "blob")


class Auth(Language):
    """Credentials, exactly one of the three."""

    bearer: Maybe[Text] = Field(default=None, description="A token: Authorization: Bearer …")
    basic: Maybe[Annotated[list[Text], Field(min_length=2, max_length=2)]] = Field(
        default=None, description="User and password."
    )
    header: Maybe[Annotated[list[Text], Field(min_length=2, max_length=2)]] = Field(
        default=None, description="Name and value of a header."
    )

    @model_validator(mode="after")
    def _exactly_one(self) -> Auth:
        if len(self.model_fields_set) != 1:
            raise refuse("http", "auth takes exactly one of bearer, basic and header")
        return self


def _form_of_success(value: Any) -> str:
    return "<codes>" if isinstance(value, list) else "<expression>"


Success = Annotated[
    Annotated[list[Status], Tag("<codes>"), Field(min_length=1)] | Annotated[Text, Tag("<expression>")],
    Discriminator(_form_of_success),
]


class Http(Language):
    """One request. Its output is the body of the answer."""

    service: Maybe[PlainText] = Field(default=None, description="A service declared under services; give path with it.")
    path: Maybe[Text] = Field(
        default=None, description="After the service's base_url; begins with /. Inserted pieces are percent-encoded."
    )
    url: Maybe[Text] = Field(default=None, description="A whole URL, instead of service and path.")
    method: Method = Field(default="GET")
    query: Maybe[dict[str, Json]] = Field(default=None, description="A list repeats the parameter, null leaves it out.")
    headers: Maybe[dict[str, Json]] = Field(default=None)
    json_body: Json = Field(
        default=None, alias="json", description="The body, as JSON, with expressions at the leaves."
    )
    form: Maybe[dict[str, Json]] = Field(default=None, description="The body, as a form.")
    text: Maybe[Text] = Field(default=None, description="The body, as text.")
    multipart: Maybe[dict[str, Json]] = Field(
        default=None,
        description="The body, as multipart/form-data: texts, and parts as {blob or text, filename, content_type}.",
    )
    blob: Json = Field(default=None, description="The body, as it was kept by response: blob of an earlier step.")
    auth: Maybe[Auth] = Field(default=None, description="Credentials, instead of the service's.")
    connect_timeout: Maybe[Duration] = Field(default=None)
    success: Maybe[Success] = Field(
        default=None,
        description="Which answers are good: a list of codes such as [2xx, 404], or an expression on result.",
    )
    response: Response = Field(default="auto", description="How the body of the answer is read.")
    idempotency_key: Maybe[IdempotencyKey] = Field(
        default=None, description="What is sent as Idempotency-Key instead of the attempt's own key; false: none."
    )
    allowed_hosts: Maybe[Annotated[list[Host], Field(min_length=1)]] = Field(
        default=None,
        description="The only hosts that this step may call; with it the host of a url may come from input.",
    )
    poll: Maybe[Poll] = Field(default=None, description="Ask again after the first answer, until it is done.")
    callback: Maybe[CallbackOrTrue] = Field(
        default=None, description="Wait after the answer until ${callback_url} is called: true, or {timeout}."
    )
