"""The engine's file: made, checked, brought up to date; and what SQLite's errors mean."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Final

from durableflow.errors import (
    StorageError,
    StorageFullError,
    StorageTooNewError,
    StorageUnusableError,
)
from durableflow.hub.names import new_id

APPLICATION_ID: Final = 0x64666C77
SCHEMA_VERSION: Final = 2

# Statements that bring a file from the version before to the version named.
MIGRATIONS: Final[dict[int, str]] = {2: "ALTER TABLE instances ADD COLUMN parent_trace BLOB;"}


def create_private(path: Path) -> None:
    """Create the file for its user alone, unless it exists.

    An existing file is never opened here: closing any descriptor of a file drops the locks that
    this process holds on it, SQLite's among them.
    """
    if path.exists():
        return
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError:
        return
    except OSError as error:
        raise StorageUnusableError(
            f"Cannot create the task hub's file {path}: {error.strerror}. Create its folder, or "
            "give a task hub in a folder that you may write to."
        ) from error


def connect(path: Path | None, *pragmas: str) -> sqlite3.Connection:
    """Open a file, or memory, for one thread at a time, and say ``pragmas`` to it."""
    connection = sqlite3.connect(
        str(path) if path else ":memory:", isolation_level=None, check_same_thread=False, timeout=10
    )
    try:
        for pragma in ("PRAGMA cache_size = -16000", *pragmas):
            connection.execute(pragma)
    except BaseException:
        connection.close()
        raise
    return connection


def prepare(connection: sqlite3.Connection, path: Path | None) -> None:
    """Check whose file this is, and bring its schema to this version."""
    if path is not None and not os.access(path, os.W_OK):
        raise StorageUnusableError(
            f"The task hub's file {path} is not writable by this user. Change its permissions, or "
            "give another file as the task hub."
        )
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    empty = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
    if application != APPLICATION_ID and not (empty and application == version == 0):
        raise StorageUnusableError(
            f"{path} is a SQLite database of another program, not a durableflow task hub. Give "
            "another file as the task hub."
        )
    if version > SCHEMA_VERSION:
        raise StorageTooNewError(
            f"{path} was written by a newer durableflow (schema {version}; this one knows "
            f"{SCHEMA_VERSION}). Upgrade durableflow to open it; nothing was changed."
        )
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA wal_autocheckpoint = 4000")
    if empty:
        schema = resources.files("durableflow.engine").joinpath("schema.sql").read_text("utf-8")
        connection.executescript(
            f"BEGIN; {schema} PRAGMA application_id = {APPLICATION_ID}; "
            f"PRAGMA user_version = {SCHEMA_VERSION}; "
            f"INSERT INTO meta VALUES ('hub_id', '{new_id()}'); COMMIT;"
        )
        return
    for number in range(version + 1, SCHEMA_VERSION + 1):
        connection.executescript(
            f"BEGIN; {MIGRATIONS[number]} PRAGMA user_version = {number}; COMMIT;"
        )


@contextmanager
def explained(path: Path | None) -> Iterator[None]:
    """Turn SQLite's errors into ours, which say what to do."""
    try:
        yield
    except sqlite3.Error as error:
        raise _explain(error, path) from error


def _explain(error: sqlite3.Error, path: Path | None) -> StorageError:
    # The low byte is the primary code.  Source: https://www.sqlite.org/rescode.html
    code = getattr(error, "sqlite_errorcode", None)
    primary = None if code is None else code & 0xFF
    if primary == sqlite3.SQLITE_FULL:
        return StorageFullError(
            f"No space left for {path}: what was acknowledged is safe, but nothing can be added. "
            "Free some space; work goes on by itself."
        )
    if primary in {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY}:
        return StorageUnusableError(
            f"{path} cannot be used as a task hub ({error}). Give a file that is a durableflow "
            "task hub or does not exist yet, in a folder that you may write to."
        )
    if primary == sqlite3.SQLITE_CORRUPT:
        return StorageUnusableError(
            f"{path} is damaged ({error}). Restore it from a backup; do not delete it, it may be "
            "recoverable with SQLite's own tools."
        )
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    return StorageError(
        f"The disk failed under {path} ({error}, {name}). What was acknowledged is safe; check "
        "the disk."
    )
