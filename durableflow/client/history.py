"""``HistoryEvent``: what happened to an instance, told without the protocol's own classes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import Any, Final

import attrs
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from durableflow._proto import task_hub_pb2 as pb
from durableflow.protocol.times import from_timestamp

_SCALARS: Final = (str, bytes, int, float)


@attrs.frozen(kw_only=True)
class HistoryEvent:
    """One event of an instance's history.

    Attributes:
        event_id: The number of the action that the event confirms; -1 where there is none.
        timestamp: When it happened, in UTC.
        kind: The protocol's name of the event, in snake case: ``task_scheduled``.
        attributes: The event's own fields, in snake case, those that are set.  Payloads are JSON
            text; times are ``datetime``.
        message: The protocol's own message, as bytes.
    """

    event_id: int
    timestamp: datetime
    kind: str
    attributes: Mapping[str, Any]
    message: bytes = attrs.field(default=b"", repr=False, eq=False)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values; times are ISO 8601 text."""
        return {
            "event_id": self.event_id,
            "timestamp": self.timestamp.isoformat(),
            "kind": self.kind,
            "attributes": _plain(self.attributes),
        }

    def to_protocol(self) -> dict[str, Any]:
        """Return the protocol's own message as plain JSON values, which other tools can read."""
        return MessageToDict(pb.HistoryEvent.FromString(self.message))


def event_of(message: pb.HistoryEvent) -> HistoryEvent:
    """Read an event of the protocol."""
    field = message.WhichOneof("eventType")
    return HistoryEvent(
        event_id=message.eventId,
        timestamp=from_timestamp(message.timestamp),
        kind=_snake(field) if field else "unknown",
        attributes=_attributes(getattr(message, field)) if field else {},
        message=message.SerializeToString(),
    )


def _attributes(message: Message) -> dict[str, Any]:
    attributes = {}
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        if isinstance(value, Message) or field.containing_oneof is not None:
            if message.HasField(field.name):
                attributes[_snake(field.name)] = _single(field, value)
        elif isinstance(value, _SCALARS):
            attributes[_snake(field.name)] = _single(field, value)
        elif field.message_type is not None and field.message_type.GetOptions().map_entry:
            item_field = field.message_type.fields_by_name["value"]
            items = {key: _single(item_field, item) for key, item in value.items()}
            attributes[_snake(field.name)] = items
        else:
            attributes[_snake(field.name)] = [_single(field, item) for item in value]
    return attributes


def _single(field: Any, value: Any) -> Any:
    if field.enum_type is not None:
        number = field.enum_type.values_by_number.get(value)
        prefix = _snake(field.enum_type.name).upper() + "_"
        return number.name.removeprefix(prefix) if number else str(value)
    if not isinstance(value, Message):
        return value
    name = value.DESCRIPTOR.full_name
    if isinstance(value, Timestamp):
        return from_timestamp(value)
    if name.startswith("google.protobuf."):
        return MessageToDict(value)  # wrappers become what they wrap
    return _attributes(value)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value.isoformat() if isinstance(value, datetime) else value


@cache
def _snake(name: str) -> str:
    """Turn ``orchestrationSpanID`` into ``orchestration_span_id``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
