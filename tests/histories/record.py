"""Records a history of each feature that has none yet: ``python -m tests.histories.record``."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from durableflow import App, Client, OrchestrationStatus
from durableflow.testing import export_history
from tests.histories import features
from tests.interop.engines import sdk_engine

FOLDER = Path(__file__).parent
DEADLINE_SECONDS = 30


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def turns(client: Client, instance_id: str, kind: str, count: int = 1) -> None:
    """Wait until the history shows something."""

    def shown() -> bool:
        history = client.get_orchestration_history(instance_id)
        return [event.kind for event in history].count(kind) >= count

    until(shown)


def suspend(client: Client, instance_id: str) -> None:
    client.suspend_orchestration(instance_id, reason="lunch")
    until(lambda: status(client, instance_id) is OrchestrationStatus.SUSPENDED)
    client.raise_orchestration_event(instance_id, "number", data=1)
    client.raise_orchestration_event(instance_id, "number", data=2)
    client.resume_orchestration(instance_id)


def status(client: Client, instance_id: str) -> OrchestrationStatus:
    state = client.get_orchestration_state(instance_id)
    assert state is not None
    return state.runtime_status


def terminate(client: Client, instance_id: str) -> None:
    turns(client, instance_id, "task_completed")
    client.terminate_orchestration(instance_id, output="enough")


def order(client: Client, instance_id: str) -> None:
    client.raise_orchestration_event(instance_id, "ORDER", data=features.Order("lamp", 2))


INPUTS: dict[str, Any] = {"typed": features.Order("lamp", 2), "plain": "Ann", "continued": 0}
VERSIONS = {"versioned": "1.0", "versioned_2": "2.0"}
NAMES = {"versioned_2": "versioned"}
MEANWHILE = {"event": order, "suspended": suspend, "terminated": terminate}
UNFINISHED = {"unfinished"}
FEATURES = sorted({d.name for d in features.app.plan().registry.orchestrators()} | {*VERSIONS})
ON_SDK_ENGINE = ["sequence", "fan_out", "given_up", "event_or_timeout", "parent", "patched"]


def record(client: Client, feature: str, folder: Path) -> None:
    path = folder / f"{feature}.json"
    if path.exists():
        return
    instance_id = client.schedule_new_orchestration(
        NAMES.get(feature, feature),
        input=INPUTS.get(feature),
        version=VERSIONS.get(feature),
        instance_id=feature,
    )
    MEANWHILE.get(feature, lambda *_: None)(client, instance_id)
    if feature in UNFINISHED:
        turns(client, instance_id, "orchestrator_completed", 2)
    else:
        client.wait_for_orchestration_completion(instance_id, timeout=DEADLINE_SECONDS)
    folder.mkdir(exist_ok=True)
    text = export_history(client.get_orchestration_history(instance_id))
    # Where this was recorded is nobody's business.
    text = re.sub(r'"stackTrace": "(?:\\.|[^"\\])*"', '"stackTrace": ""', text)
    path.write_text(text)


def unpatched() -> App:
    """The app before the question was asked."""
    app = App("features", task_hub="sqlite://")
    app.add_activity(features.greet)

    @app.orchestrator(name="unpatched")
    def unpatched(ctx: Any) -> Any:
        first = yield ctx.call_activity(features.greet, input="Tokyo")
        return [first, (yield ctx.call_activity(features.greet, input="Seattle"))]

    return app


def main() -> None:
    with unpatched().running() as client:
        record(client, "unpatched", FOLDER)
    with features.app.running() as client:
        for feature in FEATURES:
            record(client, feature, FOLDER)
    with sdk_engine() as engine, features.app.running(task_hub=engine.address) as client:
        for feature in ON_SDK_ENGINE:
            record(client, feature, FOLDER / "of_another_engine")


if __name__ == "__main__":
    main()
