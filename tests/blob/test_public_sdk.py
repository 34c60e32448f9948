"""The public SDK's payload store and ours read one another's references."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from durabletask import client as sdk_client
from durabletask import task as sdk
from durabletask import worker as sdk_worker
from durabletask.extensions.azure_blob_payloads import BlobPayloadStore, BlobPayloadStoreOptions

from durableflow.engine.engine import Engine
from durableflow.engine.server import HubServer
from durableflow.hub.loop import HubLoop
from tests.blob.apps import TIMEOUT, make_app
from tests.blob.conftest import Storage

pytestmark = [pytest.mark.interop, pytest.mark.timeout(240)]

LARGE = "large payload " * 3000


def change(ctx: sdk.ActivityContext, text: str) -> str:
    return f"{len(text)}{text[1:]}"


def once(ctx: sdk.OrchestrationContext, text: str) -> Any:
    ctx.set_custom_status(text)
    return (yield ctx.call_activity(change, input=text))


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[str]:
    """Serve a task hub that belongs to neither side; yield host and port."""
    loop = HubLoop.acquire()
    engine = Engine(tmp_path / "hub.db")
    server = HubServer(engine)
    loop.run(engine.open())
    port = loop.run(server.start())
    try:
        yield f"127.0.0.1:{port}"
    finally:
        loop.run(server.stop(1))
        loop.run(engine.close())
        loop.release()


@pytest.fixture(params=[True, False], ids=["their compression", "no compression of theirs"])
def theirs(request: pytest.FixtureRequest, storage: Storage) -> Iterator[BlobPayloadStore]:
    with BlobPayloadStore(
        BlobPayloadStoreOptions(
            threshold_bytes=1000,
            enable_compression=request.param,
            container_name=storage.container,
            connection_string=storage.connection_string,
        )
    ) as store:
        yield store


def test_our_client_reads_what_their_worker_stored_and_the_other_way_round(
    storage: Storage, engine: str, theirs: BlobPayloadStore
):
    # What says in its header that it is compressed, clients of Azure inflate.  Their store does so
    # itself, if its own setting is to compress.
    ours = storage.plugin(declare_compression=not theirs.options.enable_compression)
    with sdk_worker.TaskHubGrpcWorker(host_address=engine, payload_store=theirs) as worker:
        worker.add_orchestrator(once)
        worker.add_activity(change)
        worker.start()
        with make_app(ours).client(task_hub=f"grpc://{engine}") as client:
            instance_id = client.schedule_new_orchestration("once", input=LARGE)
            state = client.wait_for_orchestration_completion(instance_id, timeout=TIMEOUT)

    assert state.get_output() == f"{len(LARGE)}{LARGE[1:]}"
    assert state.get_custom_status() == LARGE
    assert storage.count("PUT") > 1


@pytest.mark.parametrize("their_id", ["i", "order #7?a=b, 100% @home"])
def test_our_worker_reads_what_their_client_stored(
    storage: Storage, engine: str, theirs: BlobPayloadStore, their_id: str
):
    app = make_app(storage.plugin(declare_compression=not theirs.options.enable_compression))
    client = sdk_client.TaskHubGrpcClient(host_address=engine, payload_store=theirs)
    with app.running(task_hub=f"grpc://{engine}") as ours:
        instance_id = client.schedule_new_orchestration("once", input=LARGE, instance_id=their_id)
        seen = client.wait_for_orchestration_completion(instance_id, timeout=TIMEOUT)
        state = ours.get_orchestration_state(instance_id)
    client.close()

    assert seen is not None
    assert state is not None
    assert state.get_input() == LARGE
    assert state.get_output() == seen.get_output() == f"{len(LARGE)}{LARGE[1:]}"
