"""Finds the blobs that nothing refers to any more: marks from everything alive, then sweeps.

It is safe beside running workers.  What is younger than a week is left alone, so that references
that are on their way do not matter; a worker refers to a shared blob anew only if it is younger
than half of that, and stores it again otherwise; and a blob is deleted only as it was when it was
listed.  If anything cannot be read, nothing is deleted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs

from durableflow import App, Client, HistoryEvent, InstanceNotFoundError, OrchestrationQuery
from durableflow_blob.known import SPARED
from durableflow_blob.plugin import BlobPayloads
from durableflow_blob.references import (
    INSTANCES,
    PREFIXES,
    SHARED,
    RefusedError,
    is_reference,
    read_reference,
)
from durableflow_blob.store import BlobStore, Listed


@attrs.frozen(kw_only=True)
class Collected:
    """What came of it.

    Attributes:
        instances: How many were read.
        live: How many blobs they refer to.
        young: How many nothing refers to, but are too young to be deleted.
        garbage: What is to go, or is gone.
    """

    instances: int
    live: int
    young: int
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
        DurableFlowError: something cannot be read; nothing has been deleted.
    """
    started = now or datetime.now(UTC)
    store = plugin.store
    # Blobs first: what is stored from here on is not in the list.
    blobs = [
        blob for folder in (SHARED, INSTANCES) for blob in store.list(plugin.container_name, folder)
    ]
    live: set[str] = set()
    instances = 0
    for task_hub in task_hubs:
        # An app without the plugin: it reads references, not what they stand for.
        with App("gc").client(task_hub=task_hub) as client:
            for found in _references_of_instances(client):
                instances += 1
                live.update(_names(found, plugin))
    unused = [blob for blob in blobs if blob.name not in live]
    old = [blob for blob in unused if started - blob.stored_at > spared]
    garbage = old if dry_run else _delete(store, plugin.container_name, old)
    return Collected(
        instances=instances,
        live=len(live),
        young=len(unused) - len(old),
        garbage=tuple(garbage),
    )


def _delete(store: BlobStore, container: str, blobs: list[Listed]) -> list[Listed]:
    return [blob for blob in blobs if store.delete(container, blob)]


def _references_of_instances(client: Client) -> Iterator[list[str]]:
    """Yield, for each instance, the texts that may be references."""
    query = OrchestrationQuery(fetch_inputs_and_outputs=True)
    for state in client.get_all_orchestration_states(query):
        texts = [
            state.serialized_input,
            state.serialized_output,
            state.serialized_custom_status,
        ]
        try:
            history = client.get_orchestration_history(state.instance_id)
        except InstanceNotFoundError:
            continue  # purged meanwhile
        for event in history:
            texts += _texts(event)
        yield [text for text in texts if text is not None and text.startswith(PREFIXES)]


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


def _names(references: list[str], plugin: BlobPayloads) -> Iterator[str]:
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
