"""Writes histories of a database file to files, whichever process owns it, and without any app.

Payloads are written as they are stored: what a codec of an app made of them stays that.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator, Collection, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Final, cast
from urllib.parse import quote

from attrs import frozen

from durableflow._proto import task_hub_pb2 as pb
from durableflow.engine.joining import FileTaskHub
from durableflow.errors import (
    CallError,
    InstanceNotFoundError,
    SetupError,
    StorageUnusableError,
)
from durableflow.hub.options import HubOptions
from durableflow.protocol.histories import history_text
from durableflow.protocol.status import Status

STATUSES: Final = {
    name.removeprefix("ORCHESTRATION_STATUS_").lower(): cast(pb.OrchestrationStatus, number)
    for name, number in pb.OrchestrationStatus.items()
}
"""What instances can be chosen by."""

_PAGE: Final = 200
_LONGEST_NAME: Final = 200
_ANSWER_SECONDS: Final = 30.0


@frozen
class Exported:
    """What was written.

    Attributes:
        files: One for each instance.
        unbegun: Instances that no worker has taken up, and that so have no history yet.
    """

    files: tuple[Path, ...]
    unbegun: tuple[str, ...]


async def export_text(database: Path, instance_id: str) -> str:
    """Return the history of one instance as JSON.

    Raises:
        StorageError: there is no such file, or it cannot be used.
        InstanceNotFoundError: it holds no such instance, or one without a history.
    """
    async with _Source(database) as source:
        events = await source.events(instance_id)
    if not events:
        raise InstanceNotFoundError(
            Status.NOT_FOUND,
            f"Instance '{instance_id}' has no history yet: no worker has taken it up.",
        )
    return history_text(events)


async def export_files(
    database: Path, folder: Path, instance_ids: Sequence[str], statuses: Collection[str]
) -> Exported:
    """Write a file of JSON for each instance.

    Args:
        folder: Made if it is missing.  Files of the same instances are replaced.
        instance_ids: Which ones; none stands for all.
        statuses: Only those in one of these; none stands for any.

    Raises:
        StorageError: there is no such database, or it cannot be used.
        InstanceNotFoundError: it does not hold what was named; nothing was written.
        SetupError: the folder cannot be made, or written to.
    """
    written: list[Path] = []
    unbegun: list[str] = []
    async with _Source(database) as source:
        await source.check(instance_ids)
        _make(folder)
        names = _Names(folder)
        async for instance_id in source.choose(instance_ids, statuses):
            try:
                events = await source.events(instance_id)
            except InstanceNotFoundError:
                continue  # purged since it was found
            if events:
                written.append(_write(names.of(instance_id), history_text(events)))
            else:
                unbegun.append(instance_id)
    return Exported(tuple(written), tuple(unbegun))


class _Source:
    """An existing database, read through its owner, or owned for as long as that takes."""

    def __init__(self, database: Path) -> None:
        self._database = database
        # Like any client it leaves the file to a worker that comes meanwhile.
        self._hub = FileTaskHub(database, HubOptions(role="client"))

    async def __aenter__(self) -> _Source:
        if not self._database.is_file():
            raise StorageUnusableError(
                f"There is no file {self._database.absolute()}, so there is nothing to export."
            )
        await self._hub.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._hub.close()

    async def check(self, instance_ids: Sequence[str]) -> None:
        """Look for instances.

        Raises:
            InstanceNotFoundError: some of them are not there.
        """
        unknown = []
        for instance_id in instance_ids:
            request = pb.GetInstanceRequest(instanceId=instance_id)
            reply = await self._hub.get_instance(request, timeout=_ANSWER_SECONDS)
            if not reply.exists:
                unknown.append(instance_id)
        if unknown:
            raise self._not_found(", ".join(f"'{each}'" for each in unknown))

    async def choose(
        self, instance_ids: Sequence[str], statuses: Collection[str]
    ) -> AsyncIterator[str]:
        """Yield the ids of instances: those named, or else all in some status."""
        for instance_id in dict.fromkeys(instance_ids):
            yield instance_id
        if instance_ids:
            return
        request = pb.QueryInstancesRequest()
        request.query.runtimeStatus.extend(STATUSES[status] for status in statuses)
        request.query.maxInstanceCount = _PAGE
        while True:
            page = await self._hub.query_instances(request, timeout=_ANSWER_SECONDS)
            for state in page.orchestrationState:
                yield state.instanceId
            if not page.continuationToken.value:
                return
            request.query.continuationToken.CopyFrom(page.continuationToken)

    async def events(self, instance_id: str) -> list[pb.HistoryEvent]:
        """Read a history.

        Raises:
            InstanceNotFoundError: there is no such instance.
        """
        request = pb.StreamInstanceHistoryRequest(instanceId=instance_id)
        try:
            chunks = self._hub.stream_instance_history(request)
            return [event async for chunk in chunks for event in chunk.events]
        except CallError as error:
            if error.status is Status.NOT_FOUND:
                raise self._not_found(f"'{instance_id}'") from error
            raise

    def _not_found(self, ids: str) -> InstanceNotFoundError:
        return InstanceNotFoundError(
            Status.NOT_FOUND,
            f"{self._hub.description} holds no instance {ids}. Check the id and the file; a purged "
            "instance is gone.",
        )


class _Names:
    """Files for instances in one folder, whatever is in their ids."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._taken: set[str] = set()

    def of(self, instance_id: str) -> Path:
        """Name the file of an instance."""
        name = quote(instance_id, safe=" ")
        if name.startswith("."):
            name = f"%2E{name[1:]}"
        # Some file systems take upper and lower case for the same.
        if len(name) > _LONGEST_NAME or name.casefold() in self._taken:
            digest = sha256(instance_id.encode()).hexdigest()
            name = f"{name[:_LONGEST_NAME]}-{digest[:16]}"
        self._taken.add(name.casefold())
        return self._folder / f"{name}.json"


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SetupError(f"The folder {folder} cannot be made: {error.strerror}.") from error


def _write(path: Path, text: str) -> Path:
    """Write a file in one step, so that no half of a history is ever taken for one."""
    part = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise SetupError(f"{path} cannot be written: {error.strerror}.") from error
    return path
