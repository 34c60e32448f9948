"""Work items behind payload codecs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from durableflow._proto import task_hub_pb2 as pb
from durableflow.errors import CallError, StorageUnusableError
from durableflow.hub.payload_stream import Restoring
from durableflow.protocol.status import Status


class Clear:
    """Nothing has to be decoded."""

    unread = None

    def undecoded(self, slots: object) -> list[Any]:
        return []

    def lost(self, instance_id: str) -> None:
        return None


@pytest.mark.parametrize(
    "error",
    [
        CallError(Status.UNAVAILABLE, "gone"),
        StorageUnusableError("the file was replaced"),
        OSError("reset"),
    ],
)
async def test_whatever_ends_the_stream_of_the_hub_is_told(error: Exception) -> None:
    async def inner() -> AsyncIterator[pb.WorkItem]:
        yield pb.WorkItem(completionToken="t1")
        raise error

    stream = Restoring(inner(), None, Clear())  # type: ignore[arg-type]  # no more is needed of them

    assert (await anext(stream)).completionToken == "t1"
    with pytest.raises(type(error), match=str(error)):
        await anext(stream)
