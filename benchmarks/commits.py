"""Counts the commits made to a SQLite file, from the outside, by reading the file.

In WAL mode a commit ends with a frame that holds the size of the database; in the other modes it
increments a counter in the database's header.  With ``synchronous=FULL`` a commit in WAL mode is
one fsync, and three or four in the other modes.
"""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

WAL_HEADER: Final = struct.Struct(">4I 8s 2I")
FRAME_HEADER: Final = struct.Struct(">2I 8s 2I")
CHANGE_COUNTER: Final = slice(24, 28)


class CommitCount:
    """The commits since counting began."""

    def __init__(self, database: Path) -> None:
        self._database = database
        self._before = self._read()

    @property
    def so_far(self) -> int:
        (salt_before, before), (salt, now) = self._before, self._read()
        return now - before if salt == salt_before else now

    def _read(self) -> tuple[bytes, int]:
        wal = self._database.with_name(self._database.name + "-wal")
        if wal.exists():
            return _commits_in(wal.read_bytes())
        with self._database.open("rb") as file:
            return b"", int.from_bytes(file.read(100)[CHANGE_COUNTER])


@contextmanager
def counting(database: Path) -> Iterator[CommitCount]:
    """Count commits meanwhile.  An open snapshot keeps SQLite from starting the WAL again."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        if connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal":
            connection.execute("BEGIN")
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        yield CommitCount(database)


def _commits_in(wal: bytes) -> tuple[bytes, int]:
    """Return the salt of this generation of the WAL, and the commits in it."""
    if len(wal) < WAL_HEADER.size:
        return b"", 0
    *_, page_size, _, salt, _, _ = WAL_HEADER.unpack_from(wal)
    commits = 0
    step = FRAME_HEADER.size + page_size
    for offset in range(WAL_HEADER.size, len(wal) - step + 1, step):
        _, size_after_commit, frame_salt, _, _ = FRAME_HEADER.unpack_from(wal, offset)
        if frame_salt != salt:
            break
        commits += size_after_commit > 0
    return salt, commits
