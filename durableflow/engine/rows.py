"""Instances as rows of the ``instances`` table and back.  Pure; no SQL."""

from __future__ import annotations

import json
from typing import Any, Final

from durableflow._proto import task_hub_pb2 as pb
from durableflow.engine.state import Instance, Parked

# SQLite gives each column as None, int, str or bytes.
Row = tuple[Any, ...]

# The columns in the order of every row here; see schema.sql.
INSTANCE_COLUMNS: Final = (
    *("key", "instance_id", "execution_id", "name", "version", "input", "created", "status"),
    *(
        "updated",
        "scheduled",
        "completed",
        "output",
        "custom_status",
        "failure",
        "parent",
        "parent_id",
    ),
    *("trace", "tags", "events", "chunks", "last_started", "suspended", "parked", "generation"),
    "parent_trace",
)


def created_row(instance: Instance) -> Row:
    """The whole row of an instance, as it is now."""
    return (
        instance.key,
        instance.instance_id,
        instance.execution_id,
        instance.name,
        instance.version,
        instance.input,
        instance.created,
        instance.status,
        instance.updated,
        instance.scheduled,
        instance.completed,
        instance.output,
        instance.custom_status,
        instance.failure,
        instance.parent,
        instance.parent_id,
        instance.trace,
        json.dumps(instance.tags, ensure_ascii=False) if instance.tags else None,
        instance.events,
        instance.chunks,
        instance.last_started,
        instance.suspended,
        _parked_text(instance),
        instance.generation,
        instance.parent_trace,
    )


def changed_row(instance: Instance) -> Row:
    """What may change in a row after its creation, as it is now, and the key."""
    return (
        instance.status,
        instance.updated,
        instance.completed,
        instance.output,
        instance.custom_status,
        instance.failure,
        instance.trace,
        instance.events,
        instance.chunks,
        instance.last_started,
        instance.suspended,
        _parked_text(instance),
        instance.key,
    )


def instance_of(row: Row) -> Instance:
    """The instance of a whole row, without its messages, activities and timers."""
    values = dict(zip(INSTANCE_COLUMNS, row, strict=True))
    values["tags"] = json.loads(values["tags"]) if values["tags"] else {}
    values["suspended"] = bool(values["suspended"])
    values["parked"] = Parked(*json.loads(values["parked"])) if values["parked"] else None
    return Instance(**values)


def is_child(instance: Instance, parent: bytes, created: int) -> bool:
    """Whether a row that names an instance's id as its parent's means this instance."""
    asked = pb.ParentInstanceInfo.FromString(parent).orchestrationInstance.executionId.value
    if not asked or asked == instance.execution_id:
        return True
    # Earlier generations are not known by name; but they came when this instance did, or later.
    return instance.generation > 1 and created >= instance.created


def _parked_text(instance: Instance) -> str | None:
    parked = instance.parked
    return None if parked is None else json.dumps([parked.kind, parked.reason])
