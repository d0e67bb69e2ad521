"""Where the database may stand, and what is said where it may not."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mcp_workflows.clock import utc_now
from mcp_workflows.errors import SettingsInvalid, StoreUnavailable
from mcp_workflows.store import Store, default_url, places
from tests.store.material import begin

pytestmark = pytest.mark.anyio

LINUX = r"""
/dev/vda / ext4 rw,relatime 0 0
proc /proc proc rw 0 0
server:/export /mnt/share nfs4 rw,vers=4.2 0 0
/dev/vdb /mnt/share/local xfs rw 0 0
//nas/share /mnt/two\040words cifs rw 0 0
"""
MACOS = """
/dev/disk3s1s1 on / (apfs, sealed, local, read-only, journaled)
/dev/disk3s5 on /System/Volumes/Data (apfs, local, journaled)
//me@nas/share on /Volumes/share (smbfs, nodev, nosuid, mounted by me)
nas:/x on /Volumes/a on b (nfs)
"""


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/srv/app", None), ("/mnt/share", "nfs4"), ("/mnt/share/app", "nfs4"), ("/mnt/share/local/app", None),
        ("/mnt/shared", None), ("/mnt/two words/app", "cifs"), ("//server/share/app", "UNC"),
    ],
)  # fmt: skip
def test_network_file_systems_of_linux_are_told_from_local_ones(folder: str, kind: str | None) -> None:
    assert places.network_kind(Path(folder), places.parse_linux_mounts(LINUX)) == kind


@pytest.mark.parametrize(
    ("folder", "kind"),
    [("/Users/me/app", None), ("/Volumes/share/app", "smbfs"), ("/Volumes/a on b/app", "nfs"), ("/Volumes/x", None)],
)
def test_network_file_systems_of_macos_are_told_from_local_ones(folder: str, kind: str | None) -> None:
    assert places.network_kind(Path(folder), places.parse_macos_mounts(MACOS)) == kind


async def test_a_network_file_system_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "_mounts", lambda: [("/", "ext4"), (str(tmp_path), "nfs4")])
    with pytest.raises(SettingsInvalid, match=r"network file system \(nfs4\).*Set DATABASE_URL"):
        async with Store.open(f"sqlite:///{tmp_path / 'runs.db'}", clock=utc_now, node_name="test"):
            pass


async def test_the_default_place_is_beside_the_definitions_and_ignores_itself_in_git(tmp_path: Path) -> None:
    url = default_url(tmp_path / "project" / "definitions")
    async with Store.open(url, clock=utc_now, node_name="test") as store:
        await begin(store)
    folder = tmp_path / "project" / ".mcp-workflows"
    assert (folder / ".gitignore").read_text() == "*\n"
    assert (folder / "runs.db").exists()
    assert _git_sees(tmp_path / "project") == ""


def _git_sees(folder: Path) -> str:
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    return subprocess.run(
        ["git", "status", "--porcelain"], cwd=folder, check=True, capture_output=True, text=True
    ).stdout


async def test_the_default_of_a_relative_path_is_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert default_url(Path("definitions")) == default_url(tmp_path / "definitions")


async def test_what_runs_hold_is_nobody_elses_to_read(tmp_path: Path) -> None:
    async with Store.open(f"sqlite:///{tmp_path / 'runs.db'}", clock=utc_now, node_name="test") as store:
        await begin(store)
        modes = _modes(tmp_path)
    assert {name for name, mode in modes.items() if mode != 0o600} == set()
    assert "runs.db-wal" in modes


def _modes(folder: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir() if path.is_file()}


async def test_two_ways_to_one_file_are_one_database(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    urls = [f"sqlite:///{tmp_path / name / 'runs.db'}" for name in ("real", "link")]
    async with (
        Store.open(urls[0], clock=utc_now, node_name="one") as one,
        Store.open(urls[1], clock=utc_now, node_name="two") as two,
    ):
        locks: list[Any] = [store._database.lock() for store in (one, two)]  # pyright: ignore[reportPrivateUsage]
        assert locks[0].path == locks[1].path
        assert await two.load_run(await begin(one)) is not None


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("sqlite://", "must name a file"),
        ("sqlite:///:memory:", "must name a file"),
        ("mysql://localhost/x", "is not supported"),
        ("nonsense", "is no URL"),
    ],
)
async def test_a_url_that_leads_to_no_file_is_refused(url: str, says: str) -> None:
    with pytest.raises(SettingsInvalid, match=says):
        async with Store.open(url, clock=utc_now, node_name="test"):
            pass


async def test_a_file_that_is_no_database_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("my notes, " * 1000)
    with pytest.raises(StoreUnavailable, match="no SQLite database: choose another file"):
        async with Store.open(f"sqlite:///{file}", clock=utc_now, node_name="test"):
            pass
    assert file.read_text() == "my notes, " * 1000


AS_NOBODY = """
import asyncio, os, sys
from mcp_workflows.clock import utc_now
from mcp_workflows.errors import WorkflowsError
from mcp_workflows.store import Store
if os.getuid() == 0:
    os.setuid(65534)  # root may write everywhere
async def main(file):
    try:
        async with Store.open("sqlite:///" + file, clock=utc_now, node_name="test"):
            print("opened")
    except WorkflowsError as error:
        print(type(error).__name__, error)
for file in sys.argv[1:]:
    asyncio.run(main(file))
"""


def _open_as_nobody(*files: Path) -> list[str]:
    for folder in list(files[0].parents)[:-1]:
        if folder.exists() and folder.stat().st_uid == os.getuid():
            folder.chmod(folder.stat().st_mode | 0o055)
    ended = subprocess.run([sys.executable, "-c", AS_NOBODY, *files], capture_output=True, text=True, check=True)
    return ended.stdout.splitlines()


@pytest.mark.skipif(sys.platform == "win32", reason="modes of files are not what refuses there")
async def test_a_read_only_file_and_a_read_only_folder_are_refused_with_a_remedy(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    async with Store.open(f"sqlite:///{folder / 'runs.db'}", clock=utc_now, node_name="test"):
        pass
    (folder / "runs.db").chmod(0o444)
    folder.chmod(0o555)
    try:
        said = _open_as_nobody(folder / "runs.db", folder / "new.db", folder / "new" / "new.db")
    finally:
        folder.chmod(0o755)
    assert len(said) == 3
    for answer in said:
        assert answer.startswith("StoreUnavailable")
        assert "Check the permissions" in answer
