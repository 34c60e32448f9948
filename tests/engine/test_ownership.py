"""The lock, the record and the identity of a database file."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from durableflow.engine.owner import Serving
from durableflow.engine.ownership import (
    OwnerLock,
    OwnerRecord,
    beside,
    make_private,
    prepare_database,
)
from durableflow.errors import StorageUnusableError

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="modes and owners of POSIX")


def record(**changes: Any) -> OwnerRecord:
    return OwnerRecord(
        **{
            "address": "127.0.0.1:5000",
            "pid": 1,
            "incarnation": "i",
            "token": "secret",
            "hub_id": "h",
            "hands_over": False,
            **changes,
        }
    )


def in_another_process(program: str, *arguments: object) -> str:
    """Run a program to its end and return what it printed."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    ).stdout.strip()


TRY = """
    import sys
    from pathlib import Path
    from durableflow.engine.ownership import OwnerLock
    print(OwnerLock.try_acquire(Path(sys.argv[1])) is not None)
"""


@pytest.fixture
def lock(file: Path) -> Iterator[OwnerLock]:
    lock = OwnerLock.try_acquire(file)
    assert lock is not None
    yield lock
    lock.release()


# The lock


def test_a_lock_has_one_holder_among_processes(file: Path, lock: OwnerLock) -> None:
    assert in_another_process(TRY, file) == "False"


def test_a_lock_has_one_holder_within_a_process(file: Path, lock: OwnerLock) -> None:
    assert OwnerLock.try_acquire(file) is None


def test_asking_for_a_held_lock_does_not_drop_it(file: Path, lock: OwnerLock) -> None:
    OwnerLock.try_acquire(file)
    OwnerLock.place(file)

    assert in_another_process(TRY, file) == "False"


def test_a_released_lock_can_be_taken(file: Path, lock: OwnerLock) -> None:
    lock.release()
    lock.release()

    assert in_another_process(TRY, file) == "True"


def test_the_death_of_a_process_frees_its_lock(file: Path) -> None:
    in_another_process(TRY + "    import os; os._exit(0)\n", file)

    lock = OwnerLock.try_acquire(file)

    assert lock is not None
    lock.release()


def test_a_forked_child_neither_holds_nor_drops_the_lock(file: Path, lock: OwnerLock) -> None:
    told, tell = os.pipe()

    child = os.fork()
    if child == 0:
        taken = OwnerLock.try_acquire(file)
        lock.release()
        os.write(tell, b"taken" if taken else b"refused")
        os._exit(0)
    os.waitpid(child, 0)

    assert os.read(told, 100) == b"refused"
    assert in_another_process(TRY, file) == "False"
    os.close(told)
    os.close(tell)


def test_all_names_of_a_folder_lead_to_one_lock(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "alias").symlink_to(tmp_path / "folder")

    assert OwnerLock.place(tmp_path / "folder" / "x.db") == OwnerLock.place(
        tmp_path / "alias" / "x.db"
    )


def test_a_lock_file_that_was_replaced_protects_nothing(file: Path, lock: OwnerLock) -> None:
    assert lock.is_in_place

    beside(file, ".lock").unlink()
    beside(file, ".lock").touch()

    assert not lock.is_in_place


def test_a_lock_file_is_private(file: Path, lock: OwnerLock) -> None:
    assert stat.S_IMODE(beside(file, ".lock").stat().st_mode) == 0o600


def test_a_lock_file_that_is_a_link_is_not_followed(file: Path, tmp_path: Path) -> None:
    beside(file, ".lock").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(StorageUnusableError, match=r"hub\.db\.lock"):
        OwnerLock.try_acquire(file)


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageUnusableError, match=r"absent/hub\.db\.lock.*folder exists"):
        OwnerLock.place(tmp_path / "absent" / "hub.db")


# The record


def test_a_record_is_read_as_it_was_written(file: Path) -> None:
    record(hands_over=True).write(file)

    assert OwnerRecord.read(file) == record(hands_over=True)


def test_a_record_is_private_and_leaves_nothing_else_behind(file: Path) -> None:
    record().write(file)

    (written,) = file.parent.iterdir()
    assert stat.S_IMODE(written.stat().st_mode) == 0o600


def test_how_an_owner_serves_does_not_show_the_token() -> None:
    assert "secret" not in repr(Serving(token="secret"))


def test_a_record_does_not_show_its_token() -> None:
    assert "secret" not in repr(record())


def test_no_record_is_none(file: Path) -> None:
    assert OwnerRecord.read(file) is None


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"address": "127.0.0.1:1"}'])
def test_a_record_that_is_none_of_ours_counts_as_none(file: Path, text: str) -> None:
    beside(file, ".owner").write_text(text)
    beside(file, ".owner").chmod(0o600)

    assert OwnerRecord.read(file) is None


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_record_that_others_may_write_is_not_trusted(file: Path, mode: int) -> None:
    record().write(file)
    beside(file, ".owner").chmod(mode)

    with pytest.raises(StorageUnusableError, match="others may write it"):
        OwnerRecord.read(file)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives away")
def test_a_record_of_another_user_is_not_trusted(file: Path) -> None:
    record().write(file)
    os.chown(beside(file, ".owner"), 12345, 12345)

    with pytest.raises(StorageUnusableError, match="belongs to another user"):
        OwnerRecord.read(file)


def test_a_record_that_is_a_link_is_not_followed(file: Path, tmp_path: Path) -> None:
    record().write(tmp_path / "other.db")
    beside(file, ".owner").symlink_to(tmp_path / "other.db.owner")

    with pytest.raises(StorageUnusableError, match="not trusted"):
        OwnerRecord.read(file)


@pytest.mark.parametrize("address", ["192.0.2.7:5000", "example.com:80", "[2001:db8::1]:5", "x"])
def test_a_record_that_names_another_machine_is_not_trusted(file: Path, address: str) -> None:
    record(address=address).write(file)

    with pytest.raises(StorageUnusableError, match="not this machine"):
        OwnerRecord.read(file)


@pytest.mark.parametrize("address", ["127.0.0.1:5000", "[::1]:5000"])
def test_a_record_that_names_this_machine_is_trusted(file: Path, address: str) -> None:
    record(address=address).write(file)

    assert OwnerRecord.read(file) == record(address=address)


def test_a_record_says_what_the_next_version_may_not_leave_out(file: Path) -> None:
    record().write(file)

    assert json.loads(beside(file, ".owner").read_text()).keys() == {
        "address",
        "pid",
        "incarnation",
        "token",
        "hub_id",
        "hands_over",
    }


# The database


def test_a_new_database_file_is_private(file: Path) -> None:
    prepare_database(file)

    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_an_open_database_becomes_private_with_what_is_beside_it(file: Path) -> None:
    for path in (file, beside(file, "-wal"), beside(file, "-shm")):
        path.touch()
        path.chmod(0o644)

    make_private(file)

    assert {stat.S_IMODE(path.stat().st_mode) for path in file.parent.iterdir()} == {0o600}


def test_a_folder_is_no_database(tmp_path: Path) -> None:
    with pytest.raises(StorageUnusableError, match="is not a file"):
        prepare_database(tmp_path)


def test_a_database_with_two_names_is_refused(file: Path, tmp_path: Path) -> None:
    file.touch()
    (tmp_path / "second.db").hardlink_to(file)

    with pytest.raises(StorageUnusableError, match="more than one name"):
        prepare_database(file)
