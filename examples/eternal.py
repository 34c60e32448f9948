"""An eternal orchestration: a monitor that starts over for ever, and never has a long history.

Run it with ``python examples/eternal.py``.
"""

import time
from datetime import timedelta

from attrs import evolve, frozen

from durableflow import App, Client, Orchestration, OrchestrationContext, when_any

app = App("eternal")


@frozen
class Watch:
    city: str
    every: timedelta = timedelta(minutes=10)
    measured: int = 0
    highest: float = -273.15


@app.activity
def measure(number: int) -> float:
    return [17.5, 19.0, 18.5][number % 3]


@app.orchestrator
def monitor(ctx: OrchestrationContext, watch: Watch) -> Orchestration[str | None]:
    temperature = yield ctx.call_activity(measure, input=watch.measured)
    watch = evolve(watch, measured=watch.measured + 1, highest=max(watch.highest, temperature))
    ctx.set_custom_status(watch)

    pause = ctx.create_timer(watch.every)
    stop = ctx.wait_for_external_event("stop", data_type=str)
    if (yield when_any(stop, pause)) == stop:
        return f"{watch.highest} °C at most in {watch.city}. {stop.get_result()}"

    # The next execution begins with this input and an empty history.  Events that have arrived
    # and that nobody has taken go along, so that no `stop` is lost in between.
    ctx.continue_as_new(watch)
    return None


def progress(client: Client, instance_id: str) -> Watch | None:
    state = client.wait_for_orchestration_start(instance_id)
    return state.get_custom_status(Watch)


if __name__ == "__main__":
    with app.running() as client:
        instance_id = client.schedule_new_orchestration(
            monitor, input=Watch("Rome", every=timedelta(seconds=0.05))
        )
        while (seen := progress(client, instance_id)) is None or seen.measured < 5:
            time.sleep(0.05)
        events = client.get_orchestration_history(instance_id)
        print("After five rounds its history is short:", len(events) < 20)

        client.raise_orchestration_event(instance_id, "stop", data="Enough.")
        print(client.wait_for_orchestration_completion(instance_id, timeout=30).get_output())

# Output:
# After five rounds its history is short: True
# 19.0 °C at most in Rome. Enough.
