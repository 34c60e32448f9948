"""Who owns a database file: the lock, the file that says where its owner serves, and its identity.

Three files lie beside the database ``<db>``:

``<db>.lock``
    Locked by the owner while it lives.  Never replaced, deleted or read.  It is a file of its own
    because closing *any* descriptor of a file drops all POSIX locks of the process on it, and
    SQLite keeps such locks on the database itself.
``<db>.owner``
    Where the owner serves, and the token that it demands.  Replaced by rename.
``<db>-wal``, ``<db>-shm``
    SQLite's.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import json
import os
import stat
import sys
from pathlib import Path
from typing import ClassVar

import attrs
from attrs import frozen

from durableflow.errors import StorageFullError, StorageUnusableError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_PRIVATE = 0o600
# No symlink is followed, and no child process inherits a descriptor.
_FLAGS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)

FileIdentity = tuple[int, int]  # device, inode


class OwnerLock:
    """The right to open one database file, held by at most one process.

    A POSIX record lock: the system drops it when the process dies, and a forked child does not
    inherit it.  (``flock`` would live on in the child.)
    """

    _held: ClassVar[dict[FileIdentity, OwnerLock]] = {}

    def __init__(self, path: Path, descriptor: int, identity: FileIdentity) -> None:
        self._path = path
        self._descriptor = descriptor
        self._identity = identity

    @classmethod
    def try_acquire(cls, database: Path) -> OwnerLock | None:
        """Take the lock of a database, or return None if somebody has it.

        Raises:
            StorageUnusableError: the lock file cannot be made or opened.
        """
        path = beside(database, ".lock")
        # Not even opened while this process has it: closing that descriptor would drop the lock.
        if identity_of(path) in cls._held:
            return None
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | _FLAGS, _PRIVATE)
        except OSError as error:
            raise _unusable_folder(path, error) from error
        try:
            _lock(descriptor)
        except OSError:
            os.close(descriptor)
            return None
        status = os.fstat(descriptor)
        lock = cls(path, descriptor, (status.st_dev, status.st_ino))
        cls._held[lock._identity] = lock
        return lock

    @staticmethod
    def place(database: Path) -> FileIdentity:
        """Make the lock file if it is missing, and say which file it is.

        However many names a folder has, its lock file is one, so its identity is the database's.

        Raises:
            StorageUnusableError: it cannot be made.
        """
        path = beside(database, ".lock")
        try:
            # Only a new file is opened, so closing it can drop no lock.
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FLAGS, _PRIVATE))
        except FileExistsError:
            pass
        except OSError as error:
            raise _unusable_folder(path, error) from error
        identity = identity_of(path)
        if identity is None:
            raise StorageUnusableError(f"{path} vanished as soon as it was made.")
        return identity

    @property
    def is_in_place(self) -> bool:
        """False once somebody has deleted or replaced the lock file, so that it protects nothing."""
        return identity_of(self._path) == self._identity

    def release(self) -> None:
        """Let another process take it.  Idempotent."""
        if self._held.pop(self._identity, None) is self:
            os.close(self._descriptor)

    @classmethod
    def forget_all(cls) -> None:
        """Drop what a forked child believes to hold; the locks stayed with the parent."""
        cls._held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=OwnerLock.forget_all)


@frozen(kw_only=True)
class OwnerRecord:
    """What an owner says about itself in ``<db>.owner``.

    Attributes:
        address: ``host:port`` of its server, on loopback.
        pid: Its process.
        incarnation: Which run of the engine it is.
        token: What its server demands; ``""`` if it lets every local user in.
        hub_id: Which task hub the file holds.
        hands_over: Whether it gives the file up to a process that has a worker, having none.
    """

    address: str
    pid: int
    incarnation: str
    token: str = attrs.field(repr=False)
    hub_id: str
    hands_over: bool

    def write(self, database: Path) -> None:
        """Put the record beside the database, readable by its user alone, in one step.

        Raises:
            StorageError: it cannot be written.
        """
        path = beside(database, ".owner")
        new = path.with_name(f"{path.name}.{os.getpid()}")
        try:
            new.unlink(missing_ok=True)
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FLAGS, _PRIVATE)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump(attrs.asdict(self), file)
            new.replace(path)
        except OSError as error:
            kind = StorageFullError if error.errno == errno.ENOSPC else StorageUnusableError
            raise kind(f"{path} cannot be written: {error.strerror}.") from error

    @classmethod
    def read(cls, database: Path) -> OwnerRecord | None:
        """Return the record beside the database, or None if there is none that can be read.

        Raises:
            StorageUnusableError: the record might be somebody else's, so it is not trusted.
        """
        path = beside(database, ".owner")
        try:
            descriptor = os.open(path, os.O_RDONLY | _FLAGS)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _untrusted(path, f"it cannot be opened ({error.strerror})") from error
        with os.fdopen(descriptor, encoding="utf-8") as file:
            _check_trust(path, os.fstat(file.fileno()))
            text = file.read()
        try:
            record = cls(**json.loads(text))
        except (ValueError, TypeError):
            return None
        if not _is_loopback_address(record.address):
            raise _untrusted(path, f"it names {record.address}, which is not this machine")
        return record

    @staticmethod
    def remove(database: Path) -> None:
        """Take the record away.  Only for the holder of the lock."""
        beside(database, ".owner").unlink(missing_ok=True)


def beside(database: Path, suffix: str) -> Path:
    """The file that belongs to a database under the name ``<db><suffix>``."""
    return database.with_name(database.name + suffix)


def identity_of(path: Path) -> FileIdentity | None:
    """Which file a path names now, or None if it names none; opens nothing."""
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_dev, status.st_ino)


def prepare_database(database: Path) -> None:
    """Check what a path names before SQLite opens it, and make an empty private file if nothing.

    Only for the holder of the lock.

    Raises:
        StorageUnusableError: it is no file, cannot be made, or has a second name.
    """
    try:
        os.close(os.open(database, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FLAGS, _PRIVATE))
    except FileExistsError:
        _check_database(database)
    except OSError as error:
        raise StorageUnusableError(f"{database} cannot be made: {error.strerror}.") from error


def make_private(database: Path) -> None:
    """Take every right on an open database, and on what SQLite keeps beside it, from others."""
    for suffix in ("", "-wal", "-shm"):
        path = beside(database, suffix)
        with contextlib.suppress(FileNotFoundError, PermissionError):
            path.chmod(path.stat().st_mode & _PRIVATE)


def _check_database(database: Path) -> None:
    status = database.stat()
    if not stat.S_ISREG(status.st_mode):
        raise StorageUnusableError(f"{database} is not a file, so it cannot hold a task hub.")
    if status.st_nlink > 1:
        raise StorageUnusableError(
            f"{database} has more than one name (hard links). Two processes that open it under "
            "different names would destroy it: keep one name, and copy the file for another use."
        )


def _unusable_folder(path: Path, error: OSError) -> StorageUnusableError:
    return StorageUnusableError(
        f"{path} cannot be made or opened ({error.strerror}). A task hub writes beside its file: "
        "check that the folder exists, and its owner and permissions."
    )


def _check_trust(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise _untrusted(path, "it is not a file")
    if sys.platform == "win32":
        return
    if status.st_uid != os.geteuid():
        raise _untrusted(path, "it belongs to another user")
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise _untrusted(path, "others may write it")


def _untrusted(path: Path, reason: str) -> StorageUnusableError:
    return StorageUnusableError(
        f"{path} says where the owner of the task hub serves, but {reason}, so it is not trusted. "
        "Run as the user who owns the file, or use the address grpc://host:port."
    )


def _is_loopback_address(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        return port.isdigit() and ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


if sys.platform == "win32":

    def _lock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

else:

    def _lock(descriptor: int) -> None:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
