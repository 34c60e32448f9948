"""What holds wherever payloads are kept: in Azure Blob Storage, or in the folder of the example."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Protocol

import attrs
import pytest

from durableflow import App, OrchestrationFailedError, PayloadLostError
from tests.blob.apps import TIMEOUT, make_app
from tests.blob.conftest import ROOT, Storage, load

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

LARGE = "large payload ü " * 3000

DirectoryPayloads: Any = load(ROOT / "examples" / "directory_payloads.py").DirectoryPayloads


class Store(Protocol):
    """Where payloads are kept.

    Attributes:
        mark: What references begin with.
    """

    mark: str

    def plugin(self) -> object:
        """Make a plugin that has nothing in memory."""

    def names(self) -> list[str]:
        """Name what is kept."""

    def lose(self, name: str) -> None:
        """Delete one of these."""

    def spoil(self, name: str) -> None:
        """Put something else in its place."""


@attrs.frozen
class InBlobs:
    storage: Storage

    @property
    def mark(self) -> str:
        return f"blob:v1:{self.storage.container}:"

    def plugin(self) -> object:
        return self.storage.plugin()

    def names(self) -> list[str]:
        return self.storage.names() if self.storage.requests else []

    def lose(self, name: str) -> None:
        with self.storage.client() as container:
            container.delete_blob(name)

    def spoil(self, name: str) -> None:
        with self.storage.client() as container:
            container.upload_blob(name, b'"other"', overwrite=True)


@attrs.frozen
class InFolder:
    folder: Path
    mark = "file:"

    def plugin(self) -> object:
        return DirectoryPayloads(self.folder)

    def names(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir())

    def lose(self, name: str) -> None:
        (self.folder / name).unlink()

    def spoil(self, name: str) -> None:
        (self.folder / name).write_bytes(b'"other"')


@pytest.fixture(params=["blobs", "folder"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "blobs":
        return InBlobs(request.getfixturevalue("storage"))
    folder = tmp_path / "payloads"
    folder.mkdir()
    return InFolder(folder)


def test_a_large_payload_makes_its_way_through_everything(store: Store, task_hub: str):
    with make_app(store.plugin()).running(task_hub=task_hub) as client:
        instance_id = client.schedule_new_orchestration("listening", input=LARGE, instance_id="i")
        client.raise_orchestration_event(instance_id, "more", data=LARGE[::-1])
        state = client.wait_for_orchestration_completion(instance_id, timeout=TIMEOUT)
        history = client.get_orchestration_history(instance_id)

    assert state.get_output() == LARGE + LARGE[::-1]
    assert state.get_input() == LARGE
    assert state.get_custom_status() == LARGE
    raised = next(event for event in history if event.kind == "event_raised")
    assert json.loads(raised.attributes["input"]) == LARGE[::-1]
    with App("plain").client(task_hub=task_hub) as plain:
        stored = plain.get_orchestration_state("i")
    for text in (
        stored.serialized_input,
        stored.serialized_output,
        stored.serialized_custom_status,
    ):
        assert text.startswith(store.mark)


def test_what_is_small_stays(store: Store, task_hub: str):
    with make_app(store.plugin()).running(task_hub=task_hub) as client:
        client.run_orchestration("once", input="small", timeout=TIMEOUT)

    assert store.names() == []


def test_a_child_gets_its_input_and_its_parent_the_result(store: Store, task_hub: str):
    with make_app(store.plugin()).running(task_hub=task_hub) as client:
        output = client.run_orchestration("parent", input=LARGE, timeout=TIMEOUT)

    assert output == f"{len(LARGE)}{LARGE[1:]}"


def test_each_content_is_kept_once(store: Store):
    with make_app(store.plugin()).running(task_hub="sqlite://") as client:
        client.run_orchestration("chain", input=LARGE, timeout=TIMEOUT)

    # One input, and ten results, the last of which is the output, too.
    assert len(store.names()) == 11


def test_replays_and_other_workers_read_what_is_kept(store: Store, task_hub: str):
    with make_app(store.plugin()).client(task_hub=task_hub) as client:
        ids = [client.schedule_new_orchestration("chain", input=LARGE) for _ in range(3)]
    app = make_app(store.plugin(), session_cache_count=1)
    with app.running(task_hub=task_hub) as client:
        states = [client.wait_for_orchestration_completion(i, timeout=TIMEOUT) for i in ids]

    expected = LARGE
    for _ in range(10):
        expected = f"{len(expected)}{expected[1:]}"
    assert [state.get_output() for state in states] == [expected] * 3


@pytest.mark.parametrize("rest", ["shared/abc", "abc"])
def test_user_text_that_looks_like_a_reference_is_only_text(store: Store, task_hub: str, rest: str):
    looks_so = store.mark + rest
    with make_app(store.plugin()).running(task_hub=task_hub) as client:
        output = client.run_orchestration("once", input=looks_so, timeout=TIMEOUT)

    assert output.endswith(looks_so[1:])


def test_what_is_gone_fails_what_needs_it_and_is_named(store: Store, task_hub: str):
    with make_app(store.plugin()).client(task_hub=task_hub) as client:
        instance_id = client.schedule_new_orchestration("once", input=LARGE)
    (name,) = store.names()
    store.lose(name)
    with make_app(store.plugin()).running(task_hub=task_hub) as client:
        with pytest.raises(PayloadLostError, match=name):
            client.wait_for_orchestration_completion(instance_id, timeout=TIMEOUT)
        state = client.wait_for_orchestration_completion(
            instance_id, timeout=TIMEOUT, fetch_payloads=False
        )

    with pytest.raises(OrchestrationFailedError, match=f"PayloadLostError.*{name}"):
        state.raise_if_failed()


def test_other_content_is_not_taken(store: Store, task_hub: str):
    with make_app(store.plugin()).client(task_hub=task_hub) as client:
        instance_id = client.schedule_new_orchestration("once", input=LARGE)
    (name,) = store.names()
    store.spoil(name)
    with (
        make_app(store.plugin()).client(task_hub=task_hub) as client,
        pytest.raises(PayloadLostError, match="is damaged"),
    ):
        client.get_orchestration_state(instance_id)
