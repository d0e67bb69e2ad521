"""What a deployment may set: read once from the environment, checked, frozen; everything below gets plain arguments.

Every variable begins with ``MCP_WORKFLOWS_``. A variable with that prefix that nobody knows is refused: a typo must not
silently leave a guard at its default. The descriptions of the fields are the reference that the documentation shows.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self
from urllib.parse import unquote, urlsplit

from pydantic import AnyHttpUrl, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from mcp_workflows.access.principal import RUN, SCOPES, is_scope
from mcp_workflows.definition.durations import parse_duration
from mcp_workflows.errors import SettingsInvalid
from mcp_workflows.store.places import default_url
from mcp_workflows.store.store import LEASE_SECONDS

PREFIX: Final = "MCP_WORKFLOWS_"
LOG_LEVELS: Final = ("debug", "info", "warning", "error")

_NAMED: Final = {"vars": "VAR_", "secrets": "SECRET_"}
"""Fields that gather every variable of a prefix, and that prefix."""
_SHORTEST_RETENTION: Final = 3600.0
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TOOL_PREFIX = re.compile(r"[a-z][a-z0-9_]{0,15}")
"""With the longest name of a workflow it makes the 64 characters that a client takes."""
_BASE_URL = re.compile(r"https?://[^\s/?#@]+(/[^\s?#]*)?", re.IGNORECASE)


class _Environment(EnvSettingsSource):
    """The environment, with ``VAR_*`` and ``SECRET_*`` gathered into mappings."""

    def __call__(self) -> dict[str, Any]:
        found = {name: value for name, value in super().__call__().items() if name not in _NAMED}
        for field, prefix in _NAMED.items():
            found[field] = _gather(os.environ, PREFIX + prefix)
        return found


class Settings(BaseSettings):
    """The settings of one process. Build it with ``load``, which turns every complaint into ``SettingsInvalid``."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, extra="forbid", env_ignore_empty=True, validate_default=False
    )

    definitions: Annotated[tuple[Path, ...], NoDecode] = Field(
        default=(Path("definitions"),),
        description=f"Files and folders with workflow definitions, separated by `{os.pathsep}`.",
    )
    database_url: str | None = Field(
        default=None,
        description="Where runs are kept: `sqlite:///relative/path.db`, `sqlite:////absolute/path.db` or "
        "`postgresql://user:password@host/database`.",
    )
    vars: Mapping[str, str] = Field(
        default_factory=dict, description="`VAR_NAME` overrides the variable `NAME` of every definition."
    )
    secrets: Mapping[str, SecretStr] = Field(
        default_factory=dict, description="`SECRET_NAME` is the secret `NAME`. Never recorded, never shown."
    )
    secrets_dir: Path | None = Field(
        default=None,
        description="A folder with one file per secret, named like it; read anew at each attempt. `SECRET_NAME` wins.",
    )
    functions: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Modules with the functions that `python` steps call, by commas: `billing.steps,images`.",
    )
    mcp_servers: Path | None = Field(
        default=None,
        description='A JSON file with MCP servers that `mcp_tool` steps reach by name: `{"mcpServers": {…}}`.',
    )
    http_allowed_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="The only hosts that `http` and `mcp_tool` steps may call, by commas: `api.example.com,*.corp.example`.",
    )
    server_allowed_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Values of the Host header that `serve --http` accepts besides its own address, by commas.",
    )
    server_allowed_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Origins of browser pages that may call the server, by commas: `https://inspector.example`.",
    )
    tokens: Path | None = Field(
        default=None,
        description="A file with the tokens that `serve --http` takes, one line per actor; `mcp-workflows token` adds one.",
    )
    auth_issuer: str | None = Field(
        default=None,
        description="The authorization server whose JWTs are taken as tokens: `https://login.example.com`.",
    )
    auth_jwks_url: str | None = Field(
        default=None, description="Where the issuer's keys are, if its metadata does not say."
    )
    auth_introspection_url: str | None = Field(
        default=None,
        description="Where an authorization server says what a token is worth (RFC 7662), if it is no JWT.",
    )
    auth_client_id: str | None = Field(
        default=None, description="What this server is called when it asks there, with `AUTH_CLIENT_SECRET`."
    )
    auth_client_secret: SecretStr | None = Field(default=None, description="The secret to `AUTH_CLIENT_ID`.")
    auth_audience: str | None = Field(
        default=None, description="Whom tokens must be issued for, if not `PUBLIC_URL` with `/mcp`."
    )
    auth_actor_claim: str = Field(
        default="sub", min_length=1, description="The claim that names the actor: `sub`, `email`, `preferred_username`."
    )
    auth_default_scopes: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="What a token allows that names none of our scopes, by commas: `workflows:run`."
    )
    max_calls_per_minute: Annotated[int, Field(ge=0)] = Field(
        default=0, description="Requests that one actor may make in a minute; 0: as many as it likes."
    )
    max_connections: Annotated[int, Field(ge=1)] = Field(
        default=4000,
        description="Connections to the server over HTTP at the same time, as far as the process may have so many files open; "
        "of those, each actor has at most a quarter for what it waits for.",
    )
    max_runs: Annotated[int, Field(ge=1)] = Field(
        default=2000, description="Runs that one process moves at the same time; more wait in the database."
    )
    max_queued_runs: Annotated[int, Field(ge=1)] = Field(
        default=10_000,
        description="Runs that may wait for a place before no more are started; whoever starts one is told to try later.",
    )
    max_attempts: Annotated[int, Field(ge=1)] = Field(
        default=256, description="Attempts in flight in one process; more wait their turn."
    )
    max_attempts_per_host: Annotated[int, Field(ge=1)] = Field(
        default=100, description="Attempts in flight to one host and port; more wait, and their timeout with them."
    )
    retention: float | None = Field(
        default=30 * 86400.0,
        description="How long finished runs are kept: `30d`, at least `1h`; or `forever`.",
    )
    public_url: str | None = Field(
        default=None,
        description="Where services and people reach a server of this database: `https://workflows.example.com`.",
    )
    max_blob_bytes: Annotated[int, Field(ge=1024)] = Field(
        default=64 << 20, description="The largest body that `response: blob` keeps, or one request sends, in bytes."
    )
    max_answer_bytes: Annotated[int, Field(ge=1024)] = Field(
        default=1 << 20,
        description="The largest body of an answer that an `http` step keeps, and output of any other, in bytes.",
    )
    max_function_threads: Annotated[int, Field(ge=1)] = Field(
        default=40, description="Sync functions of `python` steps that run at the same time; more wait their turn."
    )
    lease_seconds: Annotated[float, Field(ge=2)] = Field(
        default=LEASE_SECONDS,
        description="Seconds within which others take over from a silent process; the same for all of a database.",
    )
    max_tools: Annotated[int, Field(ge=0)] = Field(
        default=30,
        description="Workflows that are all tools of their own; of more, those with `mcp: {expose: tool}` are, and "
        "`find_workflows` finds the others.",
    )
    tool_prefix: str = Field(
        default="",
        description="Put before the names of all tools: `crm_`. Lower-case letters, digits and `_`, at most 16.",
    )
    authoring: bool = Field(
        default=False,
        description="Whether agents get tools to check and test definitions, and the guide and schema for them.",
    )
    authoring_folder: Path | None = Field(
        default=None,
        description="The folder into which agents may save definitions, with `AUTHORING`; one of those served.",
    )
    log_level: Literal["debug", "info", "warning", "error"] | None = Field(
        default=None, description="`debug`, `info`, `warning` or `error`; logs go to stderr."
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 (the signature is the library's)
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 (the signature is the library's)
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 (the signature is the library's)
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments before the environment; no ``.env`` file, which nobody would look for beside a desktop client."""
        return init_settings, _Environment(settings_cls)

    @classmethod
    def load(cls, **arguments: Any) -> Self:
        """The settings of this process; ``arguments`` (of the command line) win, ``None`` meaning not given.

        Raises SettingsInvalid with every complaint, one a line.
        """
        _refuse_unknown(os.environ)
        try:
            return cls(**{name: value for name, value in arguments.items() if value is not None})
        except ValidationError as error:
            raise SettingsInvalid("\n".join(map(_complaint, error.errors()))) from None

    @field_validator("definitions", mode="before")
    @classmethod
    def _split_paths(cls, value: Any) -> Any:
        return tuple(filter(None, value.split(os.pathsep))) if isinstance(value, str) else value

    @field_validator(
        "functions", "http_allowed_hosts", "server_allowed_hosts", "server_allowed_origins", "auth_default_scopes",
        mode="before",
    )  # fmt: skip
    @classmethod
    def _split_hosts(cls, value: Any) -> Any:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("log_level", mode="before")
    @classmethod
    def _lower(cls, value: Any) -> Any:
        return value.lower() if isinstance(value, str) else value

    @field_validator("retention", mode="before")
    @classmethod
    def _parse_retention(cls, value: Any) -> Any:
        if value == "forever":
            return None
        seconds = parse_duration(value) if isinstance(value, str) else value
        if isinstance(seconds, float) and seconds < _SHORTEST_RETENTION:
            raise ValueError(f'"{value}" is too short: clients join runs, and look for results, that have just ended')
        return seconds

    @field_validator("database_url")
    @classmethod
    def _must_be_supported(cls, value: str | None) -> str | None:
        if value is not None and not _is_postgres(value):
            _sqlite_file(value)
        return value

    @field_validator("public_url")
    @classmethod
    def _must_be_a_base(cls, value: str | None) -> str | None:
        if value is not None and not _BASE_URL.fullmatch(value):
            raise ValueError(
                "that is no address to call. Write https://HOST, with a port or a path if need be, "
                "and neither credentials nor a query"
            )
        # Clients write it like this, too, and tokens are issued for what they write.
        return None if value is None else str(AnyHttpUrl(value)).rstrip("/")

    @field_validator("auth_issuer", "auth_jwks_url", "auth_introspection_url")
    @classmethod
    def _must_be_trusted(cls, value: str | None) -> str | None:
        """Whoever can change what is read there can let anybody in."""
        parts = urlsplit(value or "")
        at_this_machine = parts.hostname in {"127.0.0.1", "localhost", "::1"}
        if value is not None and (parts.scheme != "https" and not (parts.scheme == "http" and at_this_machine)):
            raise ValueError("tokens would be trusted that anybody on the way could make. Write https://…")
        return value

    @field_validator("auth_default_scopes")
    @classmethod
    def _must_be_scopes(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if wrong := [scope for scope in value if not is_scope(scope)]:
            raise ValueError(f'"{wrong[0]}" is no scope. There are {", ".join(SCOPES)} and {RUN}:NAME')
        return value

    @model_validator(mode="after")
    def _must_say_who_issues(self) -> Self:
        if self.auth_jwks_url is not None and self.auth_issuer is None:
            raise ValueError("MCP_WORKFLOWS_AUTH_JWKS_URL: say whose keys they are, with MCP_WORKFLOWS_AUTH_ISSUER")
        if (self.auth_client_id is None) != (self.auth_client_secret is None):
            raise ValueError("MCP_WORKFLOWS_AUTH_CLIENT_ID and MCP_WORKFLOWS_AUTH_CLIENT_SECRET go together")
        return self

    @field_validator("tokens")
    @classmethod
    def _must_be_a_file(cls, value: Path | None) -> Path | None:
        return None if value is None else value.expanduser()

    @field_validator("tool_prefix")
    @classmethod
    def _must_begin_a_name(cls, value: str) -> str:
        if value and not _TOOL_PREFIX.fullmatch(value):
            raise ValueError(
                f'"{value}" cannot begin the name of a tool. Write at most 16 of a-z, 0-9 and _, beginning with a letter'
            )
        return value

    @field_validator("secrets_dir", "authoring_folder")
    @classmethod
    def _must_be_a_folder(cls, value: Path | None) -> Path | None:
        if value is not None and not value.is_dir():
            raise ValueError(f'there is no folder "{value}". Create it, or leave the variable out')
        return value

    @property
    def authenticates(self) -> bool:
        """Whether who asks over HTTP must have a token."""
        return bool(self.tokens or self.auth_issuer or self.auth_introspection_url)

    @property
    def database(self) -> str:
        """The URL to open, absolute: as set, or beside the first path of definitions."""
        if self.database_url is not None and _is_postgres(self.database_url):
            return self.database_url
        if self.database_url is not None:
            return f"sqlite:///{_sqlite_file(self.database_url).absolute().as_posix()}"
        return default_url(self.definitions[0] if self.definitions else Path("definitions"))

    @property
    def database_file(self) -> Path | None:
        """The file of ``database``; ``None``: it is kept by a server."""
        return None if _is_postgres(self.database) else _sqlite_file(self.database)

    @property
    def database_place(self) -> str:
        """For people: the file, or the URL without password and options."""
        if self.database_file is not None:
            return str(self.database_file)
        parts = urlsplit(self.database)
        credentials, at, place = parts.netloc.rpartition("@")
        return f"{parts.scheme}://{credentials.partition(':')[0]}{at}{place}{parts.path}"

    @property
    def database_option(self) -> str | None:
        """What ``--database`` is in a command for this database; ``None``: the environment says it, with a secret."""
        return self.database_place if self.database_file is not None else None

    @property
    def public_host(self) -> str | None:
        """The Host header of who calls at ``public_url``."""
        return urlsplit(self.public_url).netloc if self.public_url else None

    def secret(self, name: str) -> str | None:
        """The secret's value now, or ``None`` where it is not set. A file loses the line break at its end."""
        if name in self.secrets:
            return self.secrets[name].get_secret_value()
        if self.secrets_dir is None or not _NAME.fullmatch(name):
            return None
        try:
            return (self.secrets_dir / name).read_text("utf-8").rstrip("\r\n")
        except FileNotFoundError:
            return None


def variables() -> dict[str, FieldInfo]:
    """Every variable by its full name (``VAR_*`` and ``SECRET_*`` as patterns), for the documentation and its test."""
    fields = Settings.model_fields
    return {PREFIX + (_NAMED[name] + "*" if name in _NAMED else name.upper()): fields[name] for name in fields}


def _gather(environ: Mapping[str, str], prefix: str) -> dict[str, str]:
    known = set(variables())
    return {
        key.removeprefix(prefix): value
        for key, value in environ.items()
        if key.startswith(prefix) and len(key) > len(prefix) and key not in known
    }


def _refuse_unknown(environ: Mapping[str, str]) -> None:
    known = {name for name in variables() if not name.endswith("*")}
    prefixes = tuple(PREFIX + prefix for prefix in _NAMED.values())
    unknown = [
        name
        for name in environ
        if name.upper().startswith(PREFIX) and name not in known and not name.startswith(prefixes)
    ]
    if unknown:
        raise SettingsInvalid("\n".join(_unknown(name, known) for name in sorted(unknown)))


def _unknown(name: str, known: set[str]) -> str:
    candidates = [one.removeprefix(PREFIX) for one in known] + list(_NAMED.values())
    close = get_close_matches(name.upper().removeprefix(PREFIX), candidates, 1, 0.7)
    if name.upper() in known:
        remedy = f"Variables are in capitals: {name.upper()}."
    elif close:
        remedy = f"Did you mean {PREFIX}{close[0]}{'NAME' if close[0].endswith('_') else ''}?"
    else:
        remedy = f"Known are {', '.join(sorted(known))}, {PREFIX}VAR_NAME and {PREFIX}SECRET_NAME."
    return f"{name} is not a setting. {remedy}"


def _complaint(error: Any) -> str:
    if not error["loc"]:  # of several fields together, which it names
        return f"{error['ctx']['error']}."
    field = str(error["loc"][0])
    name = PREFIX + (_NAMED[field] + "*" if field in _NAMED else field.upper())
    if error["type"] == "value_error":
        return f"{name}: {error['ctx']['error']}."
    if error["type"] == "literal_error":
        return f'{name}: "{error["input"]}" is not one of {", ".join(LOG_LEVELS)}.'
    return f'{name}: "{error["input"]}" is refused: {error["msg"]}.'


def _is_postgres(url: str) -> bool:
    return url.partition("://")[0] in {"postgresql", "postgresql+psycopg"}


def _sqlite_file(url: str) -> Path:
    """The path in a ``sqlite:///`` URL; ValueError says what is wrong with another one, without showing a password."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        raise ValueError(f'"{url}" is no URL. For a file write sqlite:///{url.replace(os.sep, "/")}')
    if scheme.split("+")[0] != "sqlite":
        raise ValueError(
            f"{scheme} is not supported. Write sqlite:///path/to/runs.db, or postgresql://user:password@host/database"
        )
    if not rest.startswith("/"):
        raise ValueError(f'"{url}" names a host; a file has three slashes: sqlite:///runs.db')
    path, _, query = rest[1:].partition("?")
    if query:
        raise ValueError(f'"?{query}" is not supported; give the path alone')
    if not path or path == ":memory:":
        raise ValueError("a database in memory would lose every run with the process. Write sqlite:///path/to/runs.db")
    return Path(unquote(path)).expanduser()
