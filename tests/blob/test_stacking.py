"""Encryption and the store, one behind the other."""

from __future__ import annotations

import gzip
from typing import Any

import pytest
from cryptography.fernet import Fernet

from durableflow import App
from tests.blob.apps import TIMEOUT, make_app
from tests.blob.conftest import ROOT, Storage, load

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

FernetPayloads: Any = load(
    ROOT / "examples" / "durableflow_fernet" / "durableflow_fernet" / "__init__.py"
).FernetPayloads

SECRET = "nobody's business "
LARGE = SECRET * 3000


def blobs(storage: Storage) -> list[bytes]:
    with storage.client() as container:
        return [
            gzip.decompress(container.download_blob(name, decompress=False).readall())
            for name in storage.names()
        ]


def references(task_hub: str) -> list[str]:
    """What the task hub holds of an instance."""
    with App("plain").client(task_hub=task_hub) as client:
        state = client.get_orchestration_state("i")
    assert state is not None
    return [str(state.serialized_input), str(state.serialized_output)]


def test_an_encryption_before_the_store_lets_nobody_read_what_is_stored(
    storage: Storage, task_hub: str
):
    fernet = FernetPayloads((Fernet.generate_key().decode(),))
    with make_app(fernet, storage.plugin()).running(task_hub=task_hub) as client:
        output = client.run_orchestration("once", input=LARGE, instance_id="i", timeout=TIMEOUT)
    with make_app(fernet, storage.plugin()).client(task_hub=task_hub) as other:
        state = other.get_orchestration_state("i")

    assert state is not None
    assert output == state.get_output() == f"{len(LARGE)}{LARGE[1:]}"
    assert all(text.startswith("blob:v1:") for text in references(task_hub))
    assert blobs(storage)
    assert all(content.startswith(b"fernet:") for content in blobs(storage))


def test_an_encryption_behind_the_store_hides_references_and_not_what_is_stored(
    storage: Storage, task_hub: str
):
    fernet = FernetPayloads((Fernet.generate_key().decode(),))
    with make_app(storage.plugin(), fernet).running(task_hub=task_hub) as client:
        client.run_orchestration("once", input=LARGE, instance_id="i", timeout=TIMEOUT)

    assert all(text.startswith("fernet:") for text in references(task_hub))
    assert all(SECRET.encode() in content for content in blobs(storage))
