"""Our generated code and that of the public SDK live in one process."""

from __future__ import annotations

import subprocess
import sys

import pytest

OURS = "import durableflow, durableflow._proto.task_hub_pb2"
THEIRS = "import durabletask, durabletask.internal.orchestrator_service_pb2"


@pytest.mark.interop
@pytest.mark.parametrize(
    ("first", "second"), [(OURS, THEIRS), (THEIRS, OURS)], ids=["ours", "theirs"]
)
def test_both_packages_are_imported_in_either_order(first: str, second: str):
    program = f"{first}\n{second}\nprint('both')"

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )

    assert (done.stdout.strip(), done.stderr) == ("both", "")


@pytest.mark.interop
def test_a_message_of_ours_is_read_by_the_public_sdk():
    from durabletask.internal import orchestrator_service_pb2 as theirs

    from durableflow._proto import task_hub_pb2 as ours

    request = ours.CreateInstanceRequest(instanceId="a1", name="order", tags={"k": "v"})
    request.version.value = "1.0"

    read = theirs.CreateInstanceRequest.FromString(request.SerializeToString())

    assert (read.instanceId, read.name, read.version.value) == ("a1", "order", "1.0")
    assert dict(read.tags) == {"k": "v"}
