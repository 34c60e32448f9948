"""What the engine's file holds, written and read.  Synchronous; each connection has one thread.

WAL mode: one writing connection, one reading connection that sees what is committed.  A hub in
memory has a single connection for both (SQLite's shared cache would make readers fail on locks).
All SQL is here, but for what opens the file; see ``database``.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from google.protobuf.message import DecodeError

from durableflow._proto import task_hub_pb2 as pb
from durableflow.engine.batch import Batch, InstancePage, Suspect, TimerRow
from durableflow.engine.database import connect, create_private, explained, prepare
from durableflow.engine.rows import INSTANCE_COLUMNS, Row, instance_of, is_child
from durableflow.engine.state import ROW_SPAN, TERMINAL, Instance, Message
from durableflow.errors import StorageError
from durableflow.protocol.times import bounded_micros_of

_COLUMNS: Final = ", ".join(INSTANCE_COLUMNS)


class Store:
    """The writing connection.  Used by the committer's thread only, but for ``open``."""

    def __init__(self, connection: sqlite3.Connection, path: Path | None) -> None:
        self.path = path
        self._connection = connection

    @classmethod
    def open(cls, path: Path | None, *, synchronous: str) -> Store:
        """Open or create the file, and bring its schema up to date.

        Raises:
            StorageUnusableError: not a database, not a hub of ours, or not writable.
            StorageTooNewError: written by a newer durableflow.
        """
        if path is not None:
            create_private(path)
        with explained(path):
            connection = connect(path)
            try:
                prepare(connection, path)
                connection.execute(f"PRAGMA synchronous = {synchronous.upper()}")
            except BaseException:
                connection.close()
                raise
        return cls(connection, path)

    def reader(self) -> Reader:
        """A reading connection; for a hub in memory, this very one."""
        if self.path is None:
            return Reader(self._connection, None)
        with explained(self.path):
            return Reader(connect(self.path, "PRAGMA query_only = ON"), self.path)

    def write(self, batch: Batch) -> None:
        """Write a batch in one transaction; on any error nothing of it is kept.

        Raises:
            StorageFullError: no space left.
            StorageError: any other failure of the disk.
        """
        with explained(self.path):
            execute = self._connection.execute
            execute("BEGIN IMMEDIATE")
            try:
                self._write(batch)
                execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    execute("ROLLBACK")
                raise

    def close(self) -> None:
        """Close the connection; SQLite tidies its log if nobody else has the file open."""
        with explained(self.path):
            self._connection.close()

    def _write(self, batch: Batch) -> None:
        many = self._connection.executemany
        if batch.removed:
            many("DELETE FROM instances WHERE key = ?", [(key,) for key in batch.removed])
            for table in ("history", "inbox", "activities", "timers"):
                many(_delete_range(table), _ranges(batch.removed))
        if batch.retired:
            many("DELETE FROM instances WHERE key = ?", [(key,) for key in batch.retired])
            for table in ("history", "inbox", "timers"):
                many(_delete_range(table), _ranges(batch.retired))
        if batch.forget_dispatches is not None:
            many("DELETE FROM dispatched WHERE crashes < ?", [(batch.forget_dispatches,)])
        if batch.dropped:
            many(_delete_range("activities"), _ranges(batch.dropped))
        if batch.ended or batch.dropped:
            many(_delete_range("timers"), _ranges(batch.ended + batch.dropped))
        for rows, statement in (
            (batch.created, _INSERT_INSTANCE),
            (batch.changed, _UPDATE_INSTANCE),
            (batch.chunks, "INSERT INTO history VALUES (?, ?)"),
            (batch.inbox_gone, "DELETE FROM inbox WHERE row = ?"),
            (batch.inbox, "INSERT INTO inbox VALUES (?, ?)"),
            (batch.activities_gone, "DELETE FROM activities WHERE row = ?"),
            (batch.activities, "INSERT INTO activities VALUES (?, ?)"),
            (batch.timers_gone, "DELETE FROM timers WHERE row = ?"),
            (batch.timers, "INSERT INTO timers VALUES (?, ?, ?, ?)"),
            (batch.returned, "DELETE FROM dispatched WHERE item = ?"),
            (batch.dispatched, "INSERT OR REPLACE INTO dispatched VALUES (?, ?, ?)"),
            (batch.meta, "INSERT OR REPLACE INTO meta VALUES (?, ?)"),
        ):
            if rows:
                many(statement, rows)


class Reader:
    """Sees what is committed.  Used by one thread."""

    def __init__(self, connection: sqlite3.Connection, path: Path | None) -> None:
        self._connection = connection
        self._path = path

    def close(self) -> None:
        """Close the connection."""
        if self._path is not None:
            self._connection.close()

    def meta(self) -> dict[str, object]:
        """The hub's own facts."""
        with explained(self._path):
            return dict(self._connection.execute("SELECT name, value FROM meta"))

    def last_key(self) -> int:
        """The highest key in use, 0 if none.

        Activities of an execution that is gone may still be outstanding under its key.
        """
        return int(
            self._one(
                "SELECT max(coalesce((SELECT max(key) FROM instances), 0), "
                f"coalesce((SELECT max(row) FROM activities), 0) / {ROW_SPAN})"
            )
        )

    def busy_keys(self) -> list[int]:
        """Keys of the instances that have an event waiting or an activity outstanding."""
        rows = self._all(
            f"SELECT DISTINCT row / {ROW_SPAN} FROM inbox "
            f"UNION SELECT DISTINCT row / {ROW_SPAN} FROM activities"
        )
        return [key for (key,) in rows]

    def suspects(self) -> list[Suspect]:
        """What was out or in quarantine when the file was last closed."""
        rows = self._all("SELECT item, alone, crashes FROM dispatched")
        return [Suspect(*row) for row in rows]

    def activity(self, row: int) -> bytes | None:
        """The request of an outstanding activity."""
        found = self._all("SELECT request FROM activities WHERE row = ?", (row,))
        return found[0][0] if found else None

    def timers(self, first: tuple[int, int], limit: int) -> list[TimerRow]:
        """The timers from a (fire_at, row) on, soonest first."""
        rows = self._all(
            "SELECT fire_at, row, timer_id, stamp FROM timers "
            "WHERE (fire_at, row) >= (?, ?) ORDER BY fire_at, row LIMIT ?",
            (*first, limit),
        )
        return [TimerRow(*row) for row in rows]

    def by_ids(self, instance_ids: Sequence[str]) -> list[Instance]:
        """Load the instances with these ids; absent ones are left out."""
        places = ", ".join("?" * len(instance_ids))
        query = f"SELECT {_COLUMNS} FROM instances WHERE instance_id IN ({places})"
        return [self._complete(row) for row in self._all(query, instance_ids)]

    def by_keys(self, keys: Sequence[int]) -> list[Instance]:
        """Load the instances with these keys; absent ones are left out."""
        query = f"SELECT {_COLUMNS} FROM instances WHERE key = ?"
        return [self._complete(row) for key in keys for row in self._all(query, (key,))]

    def children(self, instance: Instance, *, live: bool) -> list[str]:
        """The ids of an instance's sub-orchestrations, all or only those that are not terminal.

        Those of its earlier generations are among them, those of another instance that had its id
        before are not.
        """
        query = "SELECT instance_id, parent, created FROM instances WHERE parent_id = ?"
        if live:
            query += f" AND status NOT IN ({', '.join(map(str, sorted(TERMINAL)))})"
        rows = self._all(query, (instance.instance_id,))
        return [child for child, parent, created in rows if is_child(instance, parent, created)]

    def activities_of(self, key: int) -> list[tuple[int, bytes]]:
        """The outstanding activities of an execution: rows and requests."""
        query = "SELECT row, request FROM activities WHERE row >= ? AND row < ? ORDER BY row"
        return [(row, request) for row, request in self._all(query, *_ranges([key]))]

    def history(self, key: int, first_chunk: int, limit: int) -> list[bytes]:
        """Serialised history chunks of an instance, in order."""
        rows = self._all(
            "SELECT events FROM history WHERE row >= ? AND row < ? ORDER BY row LIMIT ?",
            (key * ROW_SPAN + first_chunk, (key + 1) * ROW_SPAN, limit),
        )
        return [events for (events,) in rows]

    def query(self, query: pb.InstanceQuery, after: tuple[int, int], limit: int) -> InstancePage:
        """One page of the instances that a query selects, after a (created, key)."""
        where, values = _conditions(query)
        rows = self._all(
            f"SELECT {_COLUMNS} FROM instances WHERE (created, key) > (?, ?){where} "
            "ORDER BY created, key LIMIT ?",
            (*after, *values, limit + 1),
        )
        page = [instance_of(row) for row in rows[:limit]]
        more = len(rows) > limit
        return InstancePage(page, (page[-1].created, page[-1].key) if more else None)

    def _complete(self, row: Row) -> Instance:
        try:
            return self._whole(row)
        except (ValueError, DecodeError) as error:
            instance_id = row[INSTANCE_COLUMNS.index("instance_id")]
            raise StorageError(
                f"Instance '{instance_id}' in {self._path} is damaged ({error}). Other instances "
                "go on. Restore the file from a backup to have this one back."
            ) from error

    def _whole(self, row: Row) -> Instance:
        instance = instance_of(row)
        instance.children.update(self.children(instance, live=True))
        span = (instance.key * ROW_SPAN, (instance.key + 1) * ROW_SPAN)
        where = "WHERE row >= ? AND row < ? ORDER BY row"
        for number, event in self._all(f"SELECT row, event FROM inbox {where}", span):
            instance.inbox.append(Message(number, pb.HistoryEvent.FromString(event)))
        for number, request in self._all(f"SELECT row, request FROM activities {where}", span):
            instance.activities[number] = pb.ActivityRequest.FromString(request).taskId
        for number, timer_id in self._all(f"SELECT row, timer_id FROM timers {where}", span):
            instance.timers[number] = timer_id
        return instance

    def _all(self, statement: str, values: Iterable[object] = ()) -> list[Row]:
        with explained(self._path):
            return self._connection.execute(statement, tuple(values)).fetchall()

    def _one(self, statement: str) -> Any:
        return self._all(statement)[0][0]


_INSERT_INSTANCE: Final = (
    f"INSERT INTO instances ({_COLUMNS}) VALUES ({', '.join('?' * len(INSTANCE_COLUMNS))})"
)
_UPDATE_INSTANCE: Final = (
    "UPDATE instances SET status = ?, updated = ?, completed = ?, output = ?, custom_status = ?, "
    "failure = ?, trace = ?, events = ?, chunks = ?, last_started = ?, suspended = ?, parked = ? "
    "WHERE key = ?"
)


def _conditions(query: pb.InstanceQuery) -> tuple[str, list[object]]:
    where = ""
    values: list[object] = []
    if query.runtimeStatus:
        where += f" AND status IN ({', '.join('?' * len(query.runtimeStatus))})"
        values += query.runtimeStatus
    if query.HasField("createdTimeFrom"):
        where += " AND created >= ?"
        values.append(bounded_micros_of(query.createdTimeFrom))
    if query.HasField("createdTimeTo"):
        where += " AND created < ?"
        values.append(bounded_micros_of(query.createdTimeTo))
    if query.HasField("instanceIdPrefix"):
        prefix = query.instanceIdPrefix.value
        where += " AND substr(instance_id, 1, ?) = ?"
        values += [len(prefix), prefix]
    return where, values


def _ranges(keys: Sequence[int]) -> list[tuple[int, int]]:
    return [(key * ROW_SPAN, (key + 1) * ROW_SPAN) for key in keys]


def _delete_range(table: str) -> str:
    return f"DELETE FROM {table} WHERE row >= ? AND row < ?"
