"""Where a database file may stand, and where it stands when nobody says.

Processes share the file by locks and shared memory, which network file systems imitate badly: there the file would be
damaged silently, so such places are refused.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from mcp_workflows.errors import SettingsInvalid

FOLDER = ".mcp-workflows"

_NETWORK = frozenset(
    {
        "afpfs", "afs", "ceph", "cifs", "davfs", "fuse.ceph", "fuse.davfs2", "fuse.glusterfs", "fuse.rclone", "fuse.s3fs",
        "fuse.sshfs", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4", "smb2", "smb3", "smbfs", "sshfs", "webdav",
    }
)  # fmt: skip


def default_url(definitions: Path) -> str:
    """``.mcp-workflows/runs.db`` in the parent folder of the definitions: one project's processes find one file."""
    return f"sqlite:///{(definitions.absolute().parent / FOLDER / 'runs.db').as_posix()}"


def make_folder(folder: Path) -> None:
    """Makes ``folder`` if it is not there. One of ours ignores itself in git, wherever it was made."""
    if folder.name != FOLDER:
        folder.mkdir(parents=True, exist_ok=True)
        return
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    ignore = folder / ".gitignore"
    if not ignore.exists():
        ignore.write_text("*\n", encoding="ascii")


def check_file_system(folder: Path) -> None:
    """``SettingsInvalid``: ``folder`` is on a network file system."""
    kind = network_kind(folder, _mounts())
    if kind is not None:
        raise SettingsInvalid(
            f"{folder} is on a network file system ({kind}), on which SQLite loses data when processes share a file. "
            "Set DATABASE_URL to a file on a local disk."
        )


def network_kind(folder: Path, mounts: Iterable[tuple[str, str]]) -> str | None:
    """The type of the network file system that holds ``folder``, of ``(mount point, type)`` pairs in mount order."""
    if folder.as_posix().startswith("//"):
        return "UNC"
    holder, kind = Path(), ""
    for point, found in mounts:
        where = Path(point)
        if folder.is_relative_to(where) and len(where.parts) >= len(holder.parts):
            holder, kind = where, found
    return kind if kind in _NETWORK else None


def _mounts() -> list[tuple[str, str]]:
    if sys.platform == "linux":
        try:
            return parse_linux_mounts(Path("/proc/self/mounts").read_text(encoding="utf-8", errors="surrogateescape"))
        except OSError:
            return []
    if sys.platform == "darwin":
        try:
            answer = subprocess.run(["/sbin/mount"], capture_output=True, text=True, timeout=5, check=False)
        except (OSError, subprocess.SubprocessError):
            return []
        return parse_macos_mounts(answer.stdout)
    return []


def parse_linux_mounts(text: str) -> list[tuple[str, str]]:
    """Of ``/proc/self/mounts``: ``device point type options 0 0``, blanks in names as ``\\040``."""
    pairs: list[tuple[str, str]] = []
    for line in text.splitlines():
        fields = line.split(" ")
        if len(fields) >= 3:
            point = fields[1].replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")
            pairs.append((point, fields[2]))
    return pairs


def parse_macos_mounts(text: str) -> list[tuple[str, str]]:
    """Of ``mount``: ``device on point (type, option, …)``."""
    pairs: list[tuple[str, str]] = []
    for line in text.splitlines():
        head, found, options = line.rpartition(" (")
        if found:
            pairs.append((head.partition(" on ")[2], options.rstrip(")").split(",")[0]))
    return pairs
