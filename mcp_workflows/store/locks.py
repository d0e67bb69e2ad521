"""Locks between processes: one file each, let go by the kernel when their holder dies, however it dies.

``flock`` belongs to the open file, not to the process: two locks on one file exclude one another within a process too, and
closing some other descriptor of the file lets nothing go, as POSIX record locks would.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Protocol
from weakref import WeakSet

if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int, *, wait: bool) -> bool:
        while True:
            try:
                os.lseek(descriptor, 0, os.SEEK_SET)
                msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
            except OSError:
                if not wait:
                    return False
                time.sleep(0.002)  # LK_LOCK asks once a second and gives up after ten
            else:
                return True

    def _unlock(descriptor: int) -> None:
        os.lseek(descriptor, 0, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _lock(descriptor: int, *, wait: bool) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            return False
        return True

    def _unlock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_UN)


class Lock(Protocol):
    """An exclusive lock. One thread at a time may use an instance; instances exclude one another."""

    def acquire(self) -> None:
        """Waits, without a bound, in the calling thread."""
        ...

    def acquire_before(self, deadline: float) -> bool:
        """``False``: somebody else held it until the monotonic ``deadline``."""
        ...

    def release(self) -> None: ...
    def close(self) -> None:
        """Lets go for good."""
        ...

    def remove(self) -> None:
        """Lets go for good, and leaves nothing behind."""
        ...

    def __enter__(self) -> None: ...
    def __exit__(self, *exc: object) -> None: ...


class NoLock:
    """Excludes nobody: where the database itself keeps writers apart, and nothing is held by who lives."""

    def acquire(self) -> None:
        return

    def acquire_before(self, deadline: float) -> bool:  # noqa: ARG002
        return True

    def release(self) -> None:
        return

    def close(self) -> None:
        return

    def remove(self) -> None:
        return

    def __enter__(self) -> None:
        return

    def __exit__(self, *exc: object) -> None:
        return


class FileLock:
    """An exclusive lock on ``path``. One thread at a time may use an instance; instances exclude one another."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = -1
        _all.add(self)

    def acquire(self) -> None:
        """Waits, without a bound, in the calling thread. ``OSError``: the file cannot be opened."""
        taken = self._take(wait=True)
        assert taken

    def try_acquire(self) -> bool:
        """``False``: somebody else holds it."""
        return self._take(wait=False)

    def acquire_before(self, deadline: float) -> bool:
        """``False``: somebody else held it until the monotonic ``deadline``."""
        while not self.try_acquire():
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.01)
        return True

    def release(self) -> None:
        _unlock(self._descriptor)

    def close(self) -> None:
        """Lets go for good."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def remove(self) -> None:
        """Lets go for good, without the file. It is removed before, so that nobody gets a lock on a removed file unawares."""
        with suppress(OSError):  # Windows removes no open file; the next one to open the store does
            self.path.unlink(missing_ok=True)
        self.close()

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *exc: object) -> None:
        self.release()

    def _take(self, *, wait: bool) -> bool:
        while True:
            if self._descriptor < 0:
                self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
            if not _lock(self._descriptor, wait=wait):
                return False
            if self._is_current():
                return True
            self.close()

    def _is_current(self) -> bool:
        """Somebody may have removed the file: a lock on the removed one excludes nobody who comes after."""
        try:
            there = self.path.stat()
        except FileNotFoundError:
            return False
        return os.path.samestat(there, os.fstat(self._descriptor))


_all = WeakSet[FileLock]()


def _let_go() -> None:
    """In a copy of this process: a lock lasts until every copy of its descriptor is closed, and the copy may live longer."""
    for lock in list(_all):
        lock.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)
