"""Finds the blobs that nothing refers to any more: marks from everything alive, then sweeps.

It is safe beside running workers.  What is younger than a week is left alone, so that references
that are on their way do not matter; a worker refers to a shared blob anew only if it is younger
than half of that, and stores it again otherwise; and a blob is deleted only as it was when it was
listed.  If anything cannot be read, nothing is deleted.

What waits for an instance, events and results that no turn has taken yet, cannot be read: it is in no
history.  All of it came after the instance's last turn, so what may have been stored for it since
then is left alone, until the instance goes on or ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import attrs

from durableflow import (
    Client,
    HistoryEvent,
    InstanceNotFoundError,
    OrchestrationQuery,
    OrchestrationState,
)
from durableflow_blob.known import SPARED
from durableflow_blob.plugin import BlobPayloads, ReferencesApp
from durableflow_blob.references import (
    INSTANCES,
    PREFIXES,
    SHARED,
    RefusedError,
    folder_of,
    is_reference,
    read_reference,
)
from durableflow_blob.store import BlobStore, Listed

# What is referred to anew was stored at most so long before.
_BEFORE: Final = SPARED / 2


@attrs.define
class _Marks:
    """What has to stay: blobs by name, and those that instances which have not ended may wait for.

    Attributes:
        folders: The folder of each of these instances, and since when.
        since: The earliest of these times; None if all have ended.
    """

    names: set[str] = attrs.field(factory=set)
    folders: dict[str, datetime] = attrs.field(factory=dict)
    since: datetime | None = None

    def wait(self, instance_id: str, since: datetime) -> None:
        """Take note of an instance that has not ended."""
        self.folders[folder_of(instance_id)] = since
        self.since = since if self.since is None else min(self.since, since)

    def may_be_waited_for(self, blob: Listed) -> bool:
        """Whether something that no history tells of may refer to a blob."""
        if blob.name.startswith(SHARED):
            since = self.since
        else:
            folder, _, _ = blob.name.rpartition("/")
            since = self.folders.get(folder + "/")
        return since is not None and blob.stored_at > since


@attrs.frozen(kw_only=True)
class Collected:
    """What came of it.

    Attributes:
        instances: How many were read.
        live: How many blobs they refer to.
        young: How many nothing refers to, but are too young to be deleted.
        awaited: How many older ones no history refers to, but what waits for an instance may.
        garbage: What is to go, or is gone.
    """

    instances: int
    live: int
    young: int
    awaited: int
    garbage: tuple[Listed, ...]

    @property
    def size_bytes(self) -> int:
        """How much that is."""
        return sum(blob.size for blob in self.garbage)


def collect(
    plugin: BlobPayloads,
    task_hubs: list[str],
    *,
    dry_run: bool,
    spared: timedelta = SPARED,
    now: datetime | None = None,
) -> Collected:
    """Delete the blobs of a container that no instance of some task hubs refers to.

    Args:
        task_hubs: The addresses of all that use the container.
        dry_run: Only find them.
        spared: What is younger stays.
        now: The present time, unless it is now.

    Raises:
        DurableFlowError: something cannot be read, and nothing has been deleted; or something
            cannot be deleted, unlike what came before it.
    """
    started = now or datetime.now(UTC)
    store = plugin.store
    # Blobs first: what is stored from here on is not in the list.
    blobs = [
        blob for folder in (SHARED, INSTANCES) for blob in store.list(plugin.container_name, folder)
    ]
    marks = _Marks()
    instances = 0
    for task_hub in task_hubs:
        with ReferencesApp("gc").client(task_hub=task_hub) as client:
            for state, history in _instances(client):
                instances += 1
                marks.names.update(_names(_references(state, history), plugin))
                if not state.runtime_status.is_terminal:
                    marks.wait(state.instance_id, _last_turn(state, history) - _BEFORE)
    unused = [blob for blob in blobs if blob.name not in marks.names]
    old = [blob for blob in unused if started - blob.stored_at > spared]
    garbage = [blob for blob in old if not marks.may_be_waited_for(blob)]
    awaited = len(old) - len(garbage)
    if not dry_run:
        garbage = _delete(store, plugin.container_name, garbage)
    return Collected(
        instances=instances,
        live=len(marks.names),
        young=len(unused) - len(old),
        awaited=awaited,
        garbage=tuple(garbage),
    )


def _delete(store: BlobStore, container: str, blobs: list[Listed]) -> list[Listed]:
    return [blob for blob in blobs if store.delete(container, blob)]


def _instances(client: Client) -> Iterator[tuple[OrchestrationState[Any], list[HistoryEvent]]]:
    query = OrchestrationQuery(fetch_inputs_and_outputs=True)
    for state in client.get_all_orchestration_states(query):
        found = _with_history(client, state)
        if found is not None:  # else it was purged meanwhile
            yield found


def _with_history(
    client: Client, state: OrchestrationState[Any]
) -> tuple[OrchestrationState[Any], list[HistoryEvent]] | None:
    """Read an instance's history; None if it is gone, and refers to nothing."""
    try:
        return state, client.get_orchestration_history(state.instance_id)
    except InstanceNotFoundError:
        if client.get_orchestration_state(state.instance_id) is None:
            return None
        raise  # it is there, so what it refers to is not known


def _references(state: OrchestrationState[Any], history: list[HistoryEvent]) -> Iterator[str]:
    """Yield the texts of an instance that may be references."""
    texts = [state.serialized_input, state.serialized_output, state.serialized_custom_status]
    for event in history:
        texts += _texts(event)
    yield from (text for text in texts if text is not None and text.startswith(PREFIXES))


def _last_turn(state: OrchestrationState[Any], history: list[HistoryEvent]) -> datetime:
    """Return when an instance has last taken what waited for it; its beginning if never."""
    turns = [event.timestamp for event in history if event.kind == "orchestrator_started"]
    return turns[-1] if turns else state.created_at


def _texts(event: HistoryEvent) -> Iterator[str]:
    waiting: list[Any] = [event.attributes]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, Mapping):
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value


def _names(references: Iterable[str], plugin: BlobPayloads) -> Iterator[str]:
    for text in references:
        if not is_reference(text):
            continue
        try:
            address = read_reference(text, plugin.store.account_url)
        except RefusedError:
            continue  # nobody follows it
        if (address.account_url, address.container) == (
            plugin.store.account_url,
            plugin.container_name,
        ):
            yield address.name
