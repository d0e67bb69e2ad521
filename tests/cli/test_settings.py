"""Settings: what is read, what is refused, and whether the refusal says what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from mcp_workflows.errors import SettingsInvalid
from mcp_workflows.settings import Settings, variables


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in variables():
        monkeypatch.delenv(name, raising=False)


def refusal() -> str:
    with pytest.raises(SettingsInvalid) as caught:
        Settings.load()
    return str(caught.value)


def test_the_default_database_stands_beside_the_folder_of_definitions(tmp_path: Path):
    settings = Settings.load(definitions=(tmp_path / "flows",))
    assert settings.database_file == tmp_path / ".mcp-workflows" / "runs.db"
    assert settings.database == f"sqlite:///{tmp_path}/.mcp-workflows/runs.db"


def test_the_default_database_of_one_file_stands_beside_it(tmp_path: Path):
    settings = Settings.load(definitions=(tmp_path / "flow.yaml",))
    assert settings.database_file == tmp_path / ".mcp-workflows" / "runs.db"


def test_arguments_win_over_the_environment_and_none_means_not_given(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MCP_WORKFLOWS_DATABASE_URL", "sqlite:////from/environment.db")
    assert Settings.load(database_url=None).database_file == Path("/from/environment.db")
    assert Settings.load(database_url="sqlite:////given.db").database_file == Path("/given.db")


@pytest.mark.parametrize("scheme", ["postgresql", "postgresql+psycopg"])
def test_a_database_on_a_server_is_shown_without_what_is_secret(scheme: str):
    settings = Settings.load(database_url=f"{scheme}://ann:pa:ss@db.example:5433/flows?password=hush&sslmode=require")
    assert settings.database.endswith("sslmode=require")
    assert settings.database_file is None
    assert settings.database_place == f"{scheme}://ann@db.example:5433/flows"
    assert settings.database_option is None


def test_an_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MCP_WORKFLOWS_DATABASE_URL", "")
    assert Settings.load().database_url is None


def test_several_paths_and_hosts_are_split(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MCP_WORKFLOWS_DEFINITIONS", "a:b/c.yaml")
    monkeypatch.setenv("MCP_WORKFLOWS_HTTP_ALLOWED_HOSTS", "api.example.com, *.corp.example")
    settings = Settings.load()
    assert settings.definitions == (Path("a"), Path("b/c.yaml"))
    assert settings.http_allowed_hosts == ("api.example.com", "*.corp.example")


def test_variables_and_secrets_are_gathered_by_their_prefix(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MCP_WORKFLOWS_VAR_CRM_URL", "http://crm")
    monkeypatch.setenv("MCP_WORKFLOWS_SECRET_BILLING_TOKEN", "t0p")
    settings = Settings.load()
    assert settings.vars == {"CRM_URL": "http://crm"}
    assert settings.secret("BILLING_TOKEN") == "t0p"
    assert settings.secret("OTHER") is None
    assert "t0p" not in repr(settings)


def test_a_secret_file_is_read_anew_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MCP_WORKFLOWS_SECRETS_DIR", str(tmp_path))
    settings = Settings.load()
    (tmp_path / "TOKEN").write_text("one\n")
    assert settings.secret("TOKEN") == "one"
    (tmp_path / "TOKEN").write_text("two\n")
    assert settings.secret("TOKEN") == "two"
    assert settings.secret("../TOKEN") is None


@pytest.mark.parametrize(
    ("public_url", "host"),
    [
        ("https://Hooks.example", "hooks.example"),
        ("http://127.0.0.1:8911/", "127.0.0.1:8911"),
        ("https://[::1]:8911/wf", "[::1]:8911"),
    ],
)
def test_the_host_of_the_public_url_is_what_callers_name(public_url: str, host: str):
    assert Settings.load(public_url=public_url).public_host == host


def test_the_public_url_is_kept_as_clients_write_it():
    """Tokens are issued for what they write: ``HTTPS://A.example:443/`` and ``https://a.example`` are the same to them."""
    for written in ("https://a.example", "https://a.example/", "HTTPS://A.Example:443/"):
        assert Settings.load(public_url=written).public_url == "https://a.example"
    assert Settings.load(public_url="https://a.example:8443/Flows/").public_url == "https://a.example:8443/Flows"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("DATABSE_URL", "x", "MCP_WORKFLOWS_DATABSE_URL is not a setting. Did you mean MCP_WORKFLOWS_DATABASE_URL?"),
        ("database_url", "x", "Variables are in capitals: MCP_WORKFLOWS_DATABASE_URL."),
        ("FROBNICATE", "x", "MCP_WORKFLOWS_FROBNICATE is not a setting. Known are "),
        ("LOG_LEVEL", "loud", 'MCP_WORKFLOWS_LOG_LEVEL: "loud" is not one of debug, info, warning, error.'),
        (
            "SECRETS_DIR",
            "/nowhere/at/all",
            'MCP_WORKFLOWS_SECRETS_DIR: there is no folder "/nowhere/at/all". Create it',
        ),
        ("DATABASE_URL", "postgresql+asyncpg://u:pw@h/db", "postgresql+asyncpg is not supported. Write"),
        ("DATABASE_URL", "runs.db", '"runs.db" is no URL. For a file write sqlite:///runs.db'),
        ("DATABASE_URL", "sqlite://runs.db", "a file has three slashes: sqlite:///runs.db"),
        ("DATABASE_URL", "sqlite:///:memory:", "a database in memory would lose every run with the process."),
        ("PUBLIC_URL", "workflows.example", "MCP_WORKFLOWS_PUBLIC_URL: that is no address to call. Write https://HOST"),
        ("PUBLIC_URL", "https://eve:pw@h.example", "is no address to call"),
        ("PUBLIC_URL", "https://h.example/x?y=1", "is no address to call"),
        ("PUBLIC_URL", "ftp://h.example", "is no address to call"),
        ("MAX_BLOB_BYTES", "12", 'MCP_WORKFLOWS_MAX_BLOB_BYTES: "12" is refused'),
        ("DATABASE_URL", "sqlite:///a.db?mode=ro", '"?mode=ro" is not supported; give the path alone'),
    ],
)
def test_a_refused_setting_names_the_variable_and_the_remedy(
    name: str, value: str, message: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(f"MCP_WORKFLOWS_{name}", value)
    said = refusal()
    assert f"MCP_WORKFLOWS_{name}" in said
    assert message in said
    assert "pw@" not in said


def test_every_complaint_is_told_at_once(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MCP_WORKFLOWS_LOG_LEVEL", "loud")
    monkeypatch.setenv("MCP_WORKFLOWS_DATABASE_URL", "mysql://h/db")
    assert len(refusal().splitlines()) == 2


def test_settings_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        Settings.load().log_level = "debug"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"AUTH_ISSUER": "http://login.example.com"}, "Write https://"),
        ({"AUTH_ISSUER": "ftp://127.0.0.1"}, "Write https://"),
        ({"AUTH_JWKS_URL": "https://login.example.com/keys"}, "say whose keys they are"),
        ({"AUTH_CLIENT_ID": "us"}, "go together"),
        ({"AUTH_DEFAULT_SCOPES": "workflows:run,admin"}, '"admin" is no scope'),
    ],
)
def test_settings_that_would_let_in_whom_they_should_not_are_refused(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str], said: str
):
    for name, value in given.items():
        monkeypatch.setenv(f"MCP_WORKFLOWS_{name}", value)
    assert said in refusal()
    assert "MCP_WORKFLOWS_AUTH_" in refusal()
