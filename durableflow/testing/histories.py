"""Histories in files: the protocol's own messages as JSON, from this engine or from another."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import attrs
from google.protobuf.json_format import ParseDict, ParseError

from durableflow._proto import task_hub_pb2 as pb
from durableflow.client import HistoryEvent
from durableflow.errors import UsageError
from durableflow.protocol.histories import history_text

_HELP: Final = (
    "A history is the JSON of the protocol's HistoryEvent messages: a list of them, or HistoryChunk "
    'messages ({"events": [...]}), one after another.'
)


@attrs.frozen
class History:
    """What happened to one execution of an orchestration instance.

    Attributes:
        source: Where it comes from, for people.
    """

    source: str
    events: tuple[pb.HistoryEvent, ...] = attrs.field(repr=False)

    @property
    def beginning(self) -> pb.ExecutionStartedEvent | None:
        """The event that names instance, orchestrator and version; None if there is none."""
        found = (event for event in self.events if event.HasField("executionStarted"))
        return next((event.executionStarted for event in found), None)


def export_history(events: Iterable[HistoryEvent]) -> str:
    """Write a history, as ``client.get_orchestration_history`` returns it, as JSON for a file."""
    return history_text(map(event_of, events))


def read_history(path: str | Path) -> History:
    """Read a history from a file.

    Raises:
        UsageError: it cannot be read, or is no history.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from error
    try:
        events = [_read_event(part) for value in _values(text) for part in _parts(value)]
    except (ValueError, ParseError) as error:
        raise UsageError(f"{path} is no history: {error}. {_HELP}") from error
    return History(str(path), tuple(events))


def event_of(event: HistoryEvent) -> pb.HistoryEvent:
    """Return the protocol's own message of an event that a client returned."""
    return pb.HistoryEvent.FromString(event.message)


def _read_event(value: Any) -> pb.HistoryEvent:
    """Read one event; fields that this version does not know are left out."""
    return ParseDict(value, pb.HistoryEvent(), ignore_unknown_fields=True)


def _values(text: str) -> Iterator[Any]:
    """Yield the JSON values that stand one after another."""
    decoder = json.JSONDecoder()
    at = 0
    while rest := text[at:].lstrip():
        at = len(text) - len(rest)
        value, at = decoder.raw_decode(text, at)
        yield value


def _parts(value: Any) -> list[Any]:
    """Return the events in a value: a list of them, a chunk of them, or one."""
    if isinstance(value, list):
        return value
    if isinstance(value, dict):
        events = value.get("events", [value])
        if isinstance(events, list):
            return events
    raise ValueError(f"{type(value).__name__} instead of a list of events")
