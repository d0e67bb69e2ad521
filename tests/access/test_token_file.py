"""Tokens from a file: what a line says, and that the file as it is now is what holds."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mcp_workflows.access.token_file import TokenFile, hashed, line_for, new_token
from mcp_workflows.errors import IdentityUnknown, SettingsInvalid

pytestmark = pytest.mark.anyio


def file_of(folder: Path, *lines: str) -> Path:
    path = folder / "tokens"
    path.write_text("\n".join(lines), "utf-8")
    return path


async def test_a_token_names_its_actor_and_what_it_allows(tmp_path: Path) -> None:
    anna, robot = new_token(), new_token()
    tokens = TokenFile(
        file_of(
            tmp_path,
            "# who may ask",
            "",
            f"{line_for('anna@example.com', anna, ('workflows:run',))}   # in the office",
            line_for("robot", robot, ("workflows:run:nightly",)),
        )
    )
    found = await tokens.principal(anna)
    assert found is not None
    assert (found.actor, found.scopes) == ("anna@example.com", {"workflows:run", "workflows:read"})
    assert found.may_start("anything")
    limited = await tokens.principal(robot)
    assert limited is not None
    assert limited.may_start("nightly")
    assert limited.holds("workflows:run")
    assert not limited.may_start("nightly_2")
    assert "workflows:read" in limited.scopes


async def test_what_is_no_token_of_the_file_names_nobody(tmp_path: Path) -> None:
    token = new_token()
    tokens = TokenFile(file_of(tmp_path, line_for("anna", token, ())))
    for wrong in ("", "mcpw_", token[:-1], token + "x", token.upper(), hashed(token), f" {token}", new_token()):
        assert await tokens.principal(wrong) is None


async def test_the_file_holds_no_token_and_no_two_tokens_are_alike() -> None:
    made = {new_token() for _ in range(100)}
    assert len(made) == 100
    assert min(map(len, made)) >= 48
    token = new_token()
    assert token not in line_for("anna", token, ())


async def test_a_line_that_is_taken_out_ends_its_token_and_one_that_comes_lets_in(tmp_path: Path) -> None:
    anna, robot = new_token(), new_token()
    path = file_of(tmp_path, line_for("anna", anna, ()))
    tokens = TokenFile(path)
    assert await tokens.principal(anna) is not None
    path.write_text(line_for("robot", robot, ()), "utf-8")
    assert await tokens.principal(anna) is None
    found = await tokens.principal(robot)
    assert found is not None
    assert found.actor == "robot"


async def test_a_file_that_is_replaced_by_another_of_the_same_size_and_time_is_noticed(tmp_path: Path) -> None:
    one, two = new_token(), new_token()
    path = file_of(tmp_path, line_for("anna", one, ()))
    tokens = TokenFile(path)
    before = path.stat()
    other = tmp_path / "other"
    other.write_text(line_for("anna", two, ()), "utf-8")
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(path)
    assert await tokens.principal(one) is None
    assert await tokens.principal(two) is not None


@pytest.mark.parametrize("broken", ["anna", "anna sha256:12", "anna {hash} workflows:everything", None])
async def test_while_the_file_cannot_be_used_nobody_is_let_in(tmp_path: Path, broken: str | None) -> None:
    token = new_token()
    path = file_of(tmp_path, line_for("anna", token, ()))
    tokens = TokenFile(path)
    if broken is None:
        path.unlink()
    else:
        path.write_text(broken.format(hash=hashed(token)), "utf-8")
    with pytest.raises(IdentityUnknown, match="The file of tokens cannot be used"):
        await tokens.principal(token)
    path.write_text(line_for("anna", token, ()), "utf-8")
    assert await tokens.principal(token) is not None


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["anna"], r"tokens:1: after the actor comes sha256:"),
        (["", "anna md5:12"], r"tokens:2: after the actor comes sha256:"),
        ([f"local {hashed('t')}"], r'"local" cannot be the name of an actor'),
        ([f"cli:root {hashed('t')}"], r'"cli:root" cannot be the name of an actor'),
        ([f"web:7 {hashed('t')}"], r'"web:7" cannot be the name of an actor'),
        ([f"anna {hashed('t')} admin"], r'"admin" is no scope'),
        ([f"anna {hashed('t')} workflows:run:"], r'"workflows:run:" is no scope'),
        ([f"anna {hashed('t')}", f"eve {hashed('t')}"], r"tokens:2: this token stands in an earlier line"),
    ],
)
def test_a_file_that_says_something_wrong_is_refused_with_the_line(
    tmp_path: Path, lines: list[str], message: str
) -> None:
    with pytest.raises(SettingsInvalid, match=message):
        TokenFile(file_of(tmp_path, *lines))
