"""Histories as text for files: the protocol's own messages as JSON, an event a line."""

from __future__ import annotations

import json
from collections.abc import Iterable

from google.protobuf.json_format import MessageToDict

from durableflow._proto import task_hub_pb2 as pb


def history_text(events: Iterable[pb.HistoryEvent]) -> str:
    """Write a history as one ``HistoryChunk``."""
    lines = ",\n".join(json.dumps(MessageToDict(event), ensure_ascii=False) for event in events)
    return f'{{"events": [\n{lines}\n]}}\n'
