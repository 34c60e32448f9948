"""Large payloads leave the wire, and come back, on a real blob service."""

from __future__ import annotations

import gc
import gzip
import itertools
import json
import logging
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from durableflow import (
    App,
    NonDeterminismError,
    PayloadDeniedError,
    PayloadLostError,
    PayloadTooLargeError,
    PayloadUnavailableError,
)
from durableflow._proto import task_hub_pb2 as pb
from durableflow.engine.__main__ import main as export
from durableflow.engine.engine import Engine
from durableflow.hub.payloads import PayloadHub
from durableflow.protocol.payload_fields import PAYLOADS
from durableflow.testing import replay
from durableflow_blob import BlobPayloads
from durableflow_blob.known import KnownBlobs
from tests.blob.apps import TIMEOUT, make_app
from tests.blob.conftest import Fault, Storage, no_fault

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

LARGE = "large payload ü " * 3000


def test_a_child_gets_its_input_from_where_its_parent_did(storage: Storage, task_hub: str):
    with make_app(storage.plugin()).running(task_hub=task_hub) as client:
        output = client.run_orchestration("parent", input=LARGE, timeout=TIMEOUT)

    assert output.endswith(LARGE[1:])
    assert storage.count("GET") == 0  # this worker has stored all of it itself


def test_a_chain_stores_each_content_once_and_reads_nothing_twice(storage: Storage):
    with storage.client() as container:
        container.create_container()
    with make_app(storage.plugin()).running(task_hub="sqlite://") as client:
        client.run_orchestration("chain", input=LARGE, timeout=TIMEOUT)

    # One input, and ten results, the last of which is the output, too.
    assert storage.count("PUT") == 11
    assert storage.count("GET") == 0


def test_a_worker_reads_what_others_stored_once(storage: Storage, task_hub: str):
    with make_app(storage.plugin()).client(task_hub=task_hub) as client:
        ids = [client.schedule_new_orchestration("once", input=LARGE) for _ in range(5)]
        with make_app(storage.plugin()).running(task_hub=task_hub) as worker_client:
            for instance_id in ids:
                worker_client.wait_for_orchestration_completion(instance_id, timeout=TIMEOUT)

    assert storage.count("GET") == 1


def test_replays_read_nothing_again(storage: Storage, task_hub: str):
    app = make_app(storage.plugin(), session_cache_count=1)
    with app.running(task_hub=task_hub) as client:
        ids = [client.schedule_new_orchestration("chain", input=LARGE) for _ in range(3)]
        for instance_id in ids:
            client.wait_for_orchestration_completion(instance_id, timeout=TIMEOUT)

    assert storage.count("GET") == 0


def first_together(count: int) -> Fault:
    """Let no request that stores a blob through before there are so many of them."""
    together = threading.Semaphore(0)
    waiting = itertools.count(1)

    def wait(method: str, path: str) -> str | None:
        if method == "PUT" and "restype=container" not in path:
            if next(waiting) == count:
                together.release(1000)
            assert together.acquire(timeout=TIMEOUT)
        return None

    return wait


def creations(storage: Storage) -> int:
    return sum("restype=container" in path for _, path, _ in storage.requests)


def test_the_container_is_made_once_however_many_store_at_the_same_time(storage: Storage):
    plugin = storage.plugin()
    storage.fault = first_together(8)
    with ThreadPoolExecutor(8) as threads:
        texts = [f"{number}{LARGE}" for number in range(8)]
        references = list(threads.map(lambda text: write(plugin, text), texts))

    assert len(set(references)) == len(storage.names()) == 8
    assert creations(storage) == 1


def test_a_container_that_has_been_deleted_is_made_again(storage: Storage):
    plugin = storage.plugin()
    write(plugin, LARGE)
    with storage.client() as container:
        container.delete_container()
    write(plugin, LARGE[::-1])

    assert len(storage.names()) == 1
    assert creations(storage) == 2


def test_no_container_is_made_where_that_is_not_wanted(storage: Storage):
    plugin = storage.plugin(create_container=False)

    with pytest.raises(PayloadUnavailableError, match=f"no container '{storage.container}'"):
        write(plugin, LARGE)

    assert creations(storage) == 0


def test_payloads_are_compressed_and_say_so(storage: Storage):
    with make_app(storage.plugin()).running(task_hub="sqlite://") as client:
        client.run_orchestration("once", input=LARGE, timeout=TIMEOUT)
    with storage.client() as container:
        name = next(name for name in storage.names() if name.startswith("shared/"))
        download = container.download_blob(name, decompress=False)
        content = download.readall()

    assert download.properties.content_settings.content_encoding == "gzip"
    assert len(content) < len(LARGE) / 5
    assert json.loads(gzip.decompress(content)) in (LARGE, f"{len(LARGE)}{LARGE[1:]}")


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("compress", [True, False])
def test_every_form_is_read_whatever_is_written(
    storage: Storage, tmp_path: Path, version: Any, compress: bool
):
    task_hub = f"sqlite:///{tmp_path / 'hub.db'}"
    writer = storage.plugin(reference_format=version, compress=compress)
    with make_app(writer).client(task_hub=task_hub) as client:
        instance_id = client.schedule_new_orchestration("once", input=LARGE)
    with make_app(storage.plugin()).running(task_hub=task_hub) as client:
        state = client.wait_for_orchestration_completion(instance_id, timeout=TIMEOUT)

    assert state.get_output().endswith(LARGE[1:])


def test_a_payload_over_the_limit_is_refused_with_its_place_and_size(storage: Storage):
    plugin = storage.plugin(max_payload_bytes=20_000)
    with make_app(plugin).running(task_hub="sqlite://") as client:
        with pytest.raises(PayloadTooLargeError, match="input of an orchestration") as caught:
            client.run_orchestration("once", input=LARGE)
        output = client.run_orchestration("careful", input="x" * 19_996, timeout=TIMEOUT)

    assert caught.value.size_bytes > len(LARGE)
    assert "result of an activity" in output
    assert "20,001 bytes" in output or "20,002 bytes" in output


# What goes wrong


def schedule(storage: Storage, task_hub: str, orchestrator: str = "once") -> str:
    """Start an instance whose input is stored."""
    with make_app(storage.plugin()).client(task_hub=task_hub) as client:
        return client.schedule_new_orchestration(orchestrator, input=LARGE)


@pytest.mark.parametrize("fault", ["500", "503", "reset", "truncate", "corrupt", "hang"])
def test_storage_that_is_away_delays_work_and_fails_nothing(
    storage: Storage, task_hub: str, fault: str
):
    instance_id = schedule(storage, task_hub)
    storage.fault = lambda method, path: fault if method == "GET" else None
    with make_app(storage.plugin(timeout_seconds=1)).running(task_hub=task_hub) as client:
        assert storage.failed.wait(TIMEOUT)
        storage.fault = lambda method, path: None
        state = client.wait_for_orchestration_completion(instance_id, timeout=TIMEOUT)

    assert state.get_output().endswith(LARGE[1:])


@pytest.mark.parametrize("fault", ["500", "503", "reset"])
def test_a_result_waits_for_storage_to_come_back(storage: Storage, task_hub: str, fault: str):
    instance_id = schedule(storage, task_hub)
    storage.fault = lambda method, path: fault if method == "PUT" else None
    with make_app(storage.plugin()).running(task_hub=task_hub) as client:
        assert storage.failed.wait(TIMEOUT)
        storage.fault = lambda method, path: None
        state = client.wait_for_orchestration_completion(instance_id, timeout=TIMEOUT)

    assert state.get_output().endswith(LARGE[1:])


def first_time(fault: str) -> Fault:
    """Let the first answer to a GET be wrong."""
    faults = itertools.chain([fault], itertools.repeat(None))
    return lambda method, path: next(faults) if method == "GET" else None


@pytest.mark.parametrize("compress", [True, False])
@pytest.mark.parametrize("fault", ["corrupt", "truncate", "shorten"])
def test_what_is_damaged_on_the_way_is_read_again(storage: Storage, fault: str, compress: bool):
    reference = write(storage.plugin(compress=compress), LARGE)
    storage.fault = first_time(fault)

    assert read(storage.plugin(), reference) == LARGE
    assert storage.count("GET") == 2


@pytest.mark.parametrize("fault", ["truncate", "shorten"])
def test_what_others_stored_is_read_again_if_only_a_part_came(storage: Storage, fault: str):
    reference = put(storage, "i/x", json.dumps(LARGE).encode())
    storage.fault = first_time(fault)

    assert json.loads(read(storage.plugin(), reference)) == LARGE


@pytest.mark.parametrize("compress", [True, False])
def test_a_result_that_stays_damaged_fails_its_task_and_is_named(
    storage: Storage, task_hub: str, compress: bool
):
    def damage(method: str, path: str) -> str | None:
        return "corrupt" if method == "GET" and "/instances/" in path else None

    storage.fault = damage
    plugin = storage.plugin(cache_bytes=0, compress=compress)
    with make_app(plugin).running(task_hub=task_hub) as client:
        output = client.run_orchestration("careful", input=LARGE, timeout=TIMEOUT)

    (name,) = (name for name in storage.names() if name.startswith("instances/"))
    assert f"The blob of blob:v1:{storage.container}:{name} is damaged" in output


def read(plugin: BlobPayloads, reference: str) -> str:
    field = PAYLOADS["ActivityRequest.input"]
    assert plugin.decodes(field, reference)
    return plugin.decode(field, reference, instance_id="i")


def write(plugin: BlobPayloads, text: str) -> str:
    return plugin.encode(PAYLOADS["ActivityResponse.result"], text, instance_id="i")


def put(storage: Storage, name: str, content: bytes) -> str:
    with storage.client() as container:
        if not container.exists():
            container.create_container()
        container.upload_blob(name, content)
    return f"blob:v1:{storage.container}:{name}"


def test_a_bomb_is_not_inflated(storage: Storage):
    reference = put(storage, "i/bomb", gzip.compress(bytes(200_000_000)))

    with pytest.raises(PayloadTooLargeError, match="input of an activity of instance 'i'"):
        read(storage.plugin(), reference)


def test_a_damaged_gzip_is_lost(storage: Storage):
    reference = put(storage, "i/half", gzip.compress(LARGE.encode())[:-20])

    with pytest.raises(PayloadLostError, match="ends too early"):
        read(storage.plugin(), reference)


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_denied_access_is_named_once_with_the_role_that_is_missing_however_much_waits(
    storage: Storage, task_hub: str, caplog: pytest.LogCaptureFixture, method: str
):
    with make_app(storage.plugin()).client(task_hub=task_hub) as client:
        texts = [f"{number}{LARGE}" for number in range(3)]
        ids = [client.schedule_new_orchestration("once", input=text) for text in texts]
    denied = threading.Semaphore(0)

    def deny(asked: str, path: str) -> str | None:
        if asked == method:
            denied.release()
            return "403"
        return None

    storage.fault = deny
    with make_app(storage.plugin()).running(task_hub=task_hub) as client:
        for _ in range(len(ids) + 1):
            assert denied.acquire(timeout=TIMEOUT)
        storage.fault = no_fault
        for instance_id in ids:
            client.wait_for_orchestration_completion(instance_id, timeout=TIMEOUT)

    (told,) = [each for each in caplog.records if "refuses access" in each.getMessage()]
    assert told.levelno == logging.ERROR
    role = {"GET": "Reader", "PUT": "Contributor"}[method]
    assert f"'Storage Blob Data {role}'" in told.getMessage()


def test_a_client_hears_that_access_is_denied(storage: Storage):
    storage.fault = lambda method, path: "403"
    with (
        make_app(storage.plugin()).client(task_hub="sqlite://") as client,
        pytest.raises(PayloadDeniedError, match="'Storage Blob Data Contributor'"),
    ):
        client.schedule_new_orchestration("once", input=LARGE)


# Where requests go


@pytest.mark.parametrize(
    "reference",
    [
        "blob:v1:other:i/x",
        "blob:v2:https://elsewhere.blob.core.windows.net/c/i/x",
        "blob:v2:http://127.0.0.1:1/devstoreaccount1/c/i/x",
        "blob:v2:{account}/other/i/x",
        "blob:v2:{account}.evil.example/{container}/i/x",
        "blob:v2:{account}/{container}/i/x?sig=secret",
        "blob:v2:https://i:secret@a.example/{container}/i/x",
        "blob:v2:https://i:p@secret@a.example/{container}/i/x",
        "blob:v2:HTTPS://a.example/{container}/i/x?sig=secret",
        "blob:v1:{container}:i/x?se=2030&sig=secret",
    ],
)
def test_only_the_account_and_container_are_ever_asked(
    storage: Storage, reference: str, caplog: pytest.LogCaptureFixture
):
    text = reference.format(account=storage.account_url, container=storage.container)

    with pytest.raises(PayloadLostError, match="not followed") as caught:
        read(storage.plugin(), text)

    assert storage.requests == []
    assert "secret" not in str(caught.value) + caught.value.reference + caplog.text


def test_a_container_can_be_allowed(storage: Storage):
    reference = put(storage, "i/x", b'"theirs"')
    plugin = storage.plugin(container_name="mine", allowed_containers=[storage.container])

    assert read(plugin, reference) == '"theirs"'


def test_a_redirect_is_not_followed(storage: Storage):
    storage.fault = lambda method, path: "redirect"

    with pytest.raises(PayloadUnavailableError):
        read(storage.plugin(), f"blob:v1:{storage.container}:i/x")

    assert {host for _, _, host in storage.requests} == {f"127.0.0.1:{storage.proxy_port}"}


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"account_url": "http://account.blob.core.windows.net"},
        {"account_url": "https://account.blob.core.windows.net?sig=secret"},
        {"account_url": "https://a.blob.core.windows.net", "connection_string": "x"},
    ],
)
def test_an_account_that_is_none_is_refused(settings: dict[str, str]):
    with pytest.raises(ValueError, match="account_url"):
        BlobPayloads(**settings)


def test_the_emulator_has_a_short_name():
    plugin = BlobPayloads(connection_string="UseDevelopmentStorage=true")

    assert plugin.store.account_url == "http://127.0.0.1:10000/devstoreaccount1"


@pytest.fixture
def connections() -> Iterator[list[str]]:
    """The hosts that this process connects to, whatever library does it."""
    hosts: list[str] = []
    watching = True

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if watching and event == "socket.connect" and isinstance(arguments[1], tuple):
            hosts.append(arguments[1][0])

    sys.addaudithook(watch)  # for ever
    yield hosts
    watching = False


def test_nothing_but_the_account_is_ever_connected_to(storage: Storage, connections: list[str]):
    plugin = storage.plugin()
    inside = write(plugin, LARGE)
    for elsewhere in ("blob:v2:https://127.0.0.3:1/c/x", "blob:v2:http://127.0.0.4:1/c/x"):
        with pytest.raises(PayloadLostError):
            read(plugin, elsewhere)
    storage.fault = lambda method, path: "redirect"
    with pytest.raises(PayloadUnavailableError):
        read(storage.plugin(), inside)

    assert set(connections) == {"127.0.0.1"}


def test_secrets_are_not_shown(storage: Storage):
    assert "AccountKey" not in repr(storage.plugin())


# Housekeeping


def test_hook_register_cleanups_offers_to_delete_what_was_for_one_instance(storage: Storage):
    plugin = storage.plugin()
    with make_app(plugin).running(task_hub="sqlite://") as client:
        for instance_id in ("a", "a.b", "ab"):
            client.run_orchestration("once", input=LARGE, instance_id=instance_id, timeout=TIMEOUT)
    before = storage.names()
    clean_up = plugin.register_cleanups(["a"])
    assert storage.names() == before
    clean_up()

    after = storage.names()
    assert [name for name in before if name not in after]
    assert all(name.startswith("instances/a/") for name in before if name not in after)


def test_an_exported_history_is_replayed_from_storage(storage: Storage, tmp_path: Path):
    hub, folder = tmp_path / "hub.db", tmp_path / "histories"
    app = make_app(storage.plugin(cache_bytes=0), task_hub=f"sqlite:///{hub}")
    with app.running() as client:
        client.run_orchestration("chain", input=LARGE, instance_id="i", timeout=TIMEOUT)
    assert export(["export", "--db", str(hub), "--out", str(folder)]) == 0
    storage.requests.clear()

    replay(app, folder)

    assert storage.count("GET") == 11
    assert storage.is_left_alone()
    with storage.client() as container:
        container.delete_blobs(*[name for name in storage.names() if "instances" in name])
    with pytest.raises(NonDeterminismError, match="activity cannot be read: There is no blob"):
        replay(app, folder)


@pytest.fixture
def no_collection() -> Iterator[None]:
    """Nothing is closed only because the garbage collector happens to come by."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collection")
def test_connections_are_closed_with_the_last_user_and_made_anew(storage: Storage, task_hub: str):
    plugin = storage.plugin(cache_bytes=0)
    app, other = make_app(plugin), make_app(plugin)
    with other.client(task_hub=task_hub) as client:
        with app.running(task_hub=task_hub) as running:
            running.run_orchestration("once", input=LARGE, instance_id="i", timeout=TIMEOUT)
        assert storage.connections > 0
        assert client.get_orchestration_state("i").get_input() == LARGE
    assert storage.is_left_alone()

    with app.client(task_hub=task_hub) as client:
        assert client.get_orchestration_state("i").get_input() == LARGE
        assert storage.connections > 0
    assert storage.is_left_alone()


@pytest.mark.usefixtures("no_collection")
async def test_connections_are_closed_after_an_async_run(storage: Storage, task_hub: str):
    plugin = storage.plugin()
    async with make_app(plugin).running(task_hub=task_hub) as client:
        await client.run_orchestration("once", input=LARGE, timeout=TIMEOUT)
        assert storage.connections > 0

    assert storage.is_left_alone()


def test_what_does_not_fit_into_memory_is_kept_in_a_folder(storage: Storage, tmp_path: Path):
    plugin = storage.plugin(cache_bytes=0, cache_folder=tmp_path)
    first = put(storage, "i/x", b'"x"')
    again = read(plugin, first), read(plugin, first)

    assert again == ('"x"', '"x"')
    assert storage.count("GET") == 1


def test_an_old_shared_blob_is_stored_again_before_it_is_referred_to():
    known = KnownBlobs()
    known.note("shared/x", stored_at=0.0)
    assert not known.certainly("shared/x")
    known.note("shared/x")
    assert known.certainly("shared/x")


def test_what_an_earlier_execution_stored_is_not_counted_on():
    known = KnownBlobs()
    known.begin("instances/i/", "one")
    one = known.at_work("instances/i/x")
    known.note("instances/i/x", one)
    known.begin("instances/i/", "one")
    assert known.certainly("instances/i/x")
    known.begin("instances/i/", "two")
    assert not known.certainly("instances/i/x")
    known.note("instances/i/x", one)  # it was long under way
    assert not known.certainly("instances/i/x")
    known.begin("instances/i/", "one")  # a late activity
    assert not known.certainly("instances/i/x")


@pytest.mark.usefixtures("installed")
def test_settings_name_and_configure_it(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("DURABLEFLOW_PLUGINS_BLOB_CONNECTION_STRING", storage.connection_string)
    (tmp_path / "durableflow.toml").write_text(
        f'[plugins.blob]\ncontainer_name = "{storage.container}"\nthreshold_bytes = 1000\n'
        'reference_format = "v2"\ncompress = false\nallowed_containers = ["other"]\n'
    )
    app = make_app(root=tmp_path)
    with app.running(task_hub="sqlite://") as client:
        client.run_orchestration("once", input=LARGE, timeout=TIMEOUT)

    (active,) = (each for each in app.plan().plugins.active if each.name == "blob")
    assert isinstance(active.plugin, BlobPayloads)
    assert active.plugin.reference_format == "v2"
    assert len(storage.names()) == 2


async def test_a_worker_tells_the_engine_that_it_reads_references(storage: Storage):
    engine = Engine(None)
    limits = {"max_payload_bytes": 2**30, "max_message_bytes": 2**30}
    hub = PayloadHub(engine, storage.plugin().register_payload_codecs(App("any")), **limits)
    request = pb.GetWorkItemsRequest()
    await hub.open()
    hub.get_work_items(request).cancel()
    await hub.close()

    assert pb.WORKER_CAPABILITY_LARGE_PAYLOADS in request.capabilities
