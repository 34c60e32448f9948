"""Serves a database file by itself: ``python -m durableflow.engine --db FILE --port N``.

``python -m durableflow.engine export --db FILE …`` writes histories out of it instead.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import stat
import sys
from collections.abc import Sequence
from pathlib import Path

from durableflow.engine.exporting import STATUSES, export_files, export_text
from durableflow.engine.owner import Owner, Serving
from durableflow.engine.ownership import OwnerLock, OwnerRecord
from durableflow.errors import DurableFlowError, SetupError, StorageUnusableError


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT, or export; return the exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if words[:1] == ["export"]:
            return asyncio.run(_export(_export_options(words[1:])))
        return asyncio.run(_serve(_parser().parse_args(words)))
    except DurableFlowError as error:
        print(f"durableflow engine: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m durableflow.engine",
        description="Keep a task hub in a SQLite file and serve it over gRPC on this machine.",
        epilog="Another form, python -m durableflow.engine export, writes histories to files.",
    )
    parser.add_argument("--db", required=True, type=Path, metavar="FILE", help="the database file")
    parser.add_argument("--port", type=int, default=0, help="0, the default, takes a free one")
    parser.add_argument("--host", default="127.0.0.1", help="a loopback address")
    parser.add_argument(
        "--token-file",
        type=Path,
        metavar="FILE",
        help="holds the token that callers must present as 'authorization: Bearer <token>'",
    )
    parser.add_argument(
        "--synchronous",
        choices=("full", "normal"),
        default="full",
        help="'normal' is faster, and a loss of power may undo the last moments",
    )
    return parser


def _export_options(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m durableflow.engine export",
        description="Write histories of instances as JSON, for python -m durableflow replay.  Any "
        "process may have the file open.  Payloads are written as they are stored: encrypted, or "
        "as references, if a plugin made them that.",
    )
    parser.add_argument("--db", required=True, type=Path, metavar="FILE", help="the database file")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FOLDER",
        help="gets a file for each instance; the history of a single INSTANCE goes to standard "
        "output without it",
    )
    parser.add_argument(
        "--status",
        action="append",
        choices=sorted(STATUSES),
        default=[],
        help="only the instances in this status; may be repeated",
    )
    parser.add_argument(
        "instances",
        nargs="*",
        metavar="INSTANCE",
        help="ids of instances; all, unless any is given",
    )
    options = parser.parse_args(words)
    if options.status and options.instances:
        parser.error("--status chooses among all instances; leave it out where ids are given")
    if options.out is None and len(options.instances) != 1:
        parser.error("name the folder that gets the files: --out FOLDER")
    return options


async def _export(options: argparse.Namespace) -> int:
    if options.out is None:
        print(await export_text(options.db, options.instances[0]), end="")
        return 0
    done = await export_files(options.db, options.out, options.instances, options.status)
    print(f"{len(done.files)} exported to {options.out}")
    for instance_id in done.unbegun:
        print(f"'{instance_id}' has no history yet: no worker has taken it up.", file=sys.stderr)
    # Whoever named an instance expects its file.
    return 1 if done.unbegun and options.instances else 0


async def _serve(options: argparse.Namespace) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.add_signal_handler(number, stop.set)
        except NotImplementedError:  # Windows
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop.set))
    serving = Serving(
        host=options.host,
        port=options.port,
        token=_token(options.token_file),
        synchronous=options.synchronous,
    )
    failures: list[StorageUnusableError] = []

    def lost(error: StorageUnusableError) -> None:
        failures.append(error)
        stop.set()

    owner = Owner(_database(options.db), _lock(options.db), serving, lost=lost)
    await owner.open()
    if not serving.token:
        print("Without --token-file, any user of this machine may connect.", file=sys.stderr)
    print(f"{owner.description} is served at grpc://{owner.address}", flush=True)
    await stop.wait()
    await owner.close()
    if failures:
        raise failures[0]
    return 0


def _database(path: Path) -> Path:
    return path.resolve()


def _lock(path: Path) -> OwnerLock:
    database = _database(path)
    lock = OwnerLock.try_acquire(database)
    if lock is None:
        record = OwnerRecord.read(database)
        where = "" if record is None else f" It is process {record.pid}, at {record.address}."
        raise StorageUnusableError(f"{database} is owned by another process.{where}")
    return lock


def _token(path: Path | None) -> str:
    if path is None:
        return ""
    try:
        with path.open(encoding="ascii") as file:
            status = os.fstat(file.fileno())
            token = file.read().strip()
    except (OSError, ValueError) as error:
        raise SetupError(f"The token file {path} cannot be read: {error}") from error
    if not token:
        raise SetupError(f"The token file {path} is empty. Put a secret of your own into it.")
    _look_at_permissions(path, status)
    return token


def _look_at_permissions(path: Path, status: os.stat_result) -> None:
    """Refuse a token that others could replace, and warn of one that they can read."""
    if os.name != "posix" or not stat.S_ISREG(status.st_mode):
        return
    others = status.st_mode & stat.S_IRWXO
    if status.st_gid != os.getegid():  # a group of the user's own is no other people
        others |= (status.st_mode & stat.S_IRWXG) >> 3
    if others & stat.S_IWOTH or status.st_uid not in (0, os.geteuid()):
        raise SetupError(
            f"The token file {path} may be written by others, who could let themselves in. It must "
            f"be yours alone: chmod 600 {path}, and put a new token into it."
        )
    if others & stat.S_IROTH:
        print(
            f"The token file {path} may be read by others, who can then connect. "
            f"Run: chmod 600 {path}",
            file=sys.stderr,
        )


if __name__ == "__main__":
    sys.exit(main())
