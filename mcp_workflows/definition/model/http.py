"""``http``: one request."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from mcp_workflows.definition.model.fields import Duration, IdempotencyKey, Json, Language, Status, Text, one_of, refuse

Method = Annotated[
    Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"],
    one_of("http", "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"),
]

BODIES = ("json", "form", "text")
LATER = frozenset({"multipart", "blob", "poll", "callback", "allowed_hosts"})
"""Keys that the language has and this version has not."""


class Auth(Language):
    """Credentials, exactly one of the three."""

    bearer: Text | None = Field(None, description="A token: Authorization: Bearer …")
    basic: Annotated[list[Text], Field(min_length=2, max_length=2)] | None = Field(
        None, description="User and password."
    )
    header: Annotated[list[Text], Field(min_length=2, max_length=2)] | None = Field(
        None, description="Name and value of a header."
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

    service: Text | None = Field(None, description="A service declared under services; give path with it.")
    path: Text | None = Field(
        None, description="After the service's base_url; begins with /. Inserted pieces are percent-encoded."
    )
    url: Text | None = Field(None, description="A whole URL, instead of service and path.")
    method: Method = Field("GET")
    query: dict[str, Json] | None = Field(None, description="A list repeats the parameter, null leaves it out.")
    headers: dict[str, Json] | None = Field(None)
    json_body: Json = Field(None, alias="json", description="The body, as JSON, with expressions at the leaves.")
    form: dict[str, Json] | None = Field(None, description="The body, as a form.")
    text: Text | None = Field(None, description="The body, as text.")
    auth: Auth | None = Field(None, description="Credentials, instead of the service's.")
    connect_timeout: Duration | None = Field(None)
    success: Success | None = Field(
        None, description="Which answers are good: a list of codes such as [2xx, 404], or an expression on result."
    )
    response: Annotated[Literal["auto", "json", "text", "none"], one_of("http", "auto", "json", "text", "none")] = (
        Field("auto", description="How the body of the answer is read.")
    )
    idempotency_key: IdempotencyKey | None = Field(
        None, description="What is sent as Idempotency-Key instead of the attempt's own key; false: none."
    )
