"""Sub-orchestrations: an orchestrator that runs other orchestrators, and survives one that fails.

Run it with ``python examples/sub_orchestrations.py``.
"""

from datetime import timedelta

from attrs import frozen

from durableflow import (
    App,
    Orchestration,
    OrchestrationContext,
    RetryPolicy,
    TaskFailedError,
    when_all,
)

app = App("sub_orchestrations")


@frozen
class Parcel:
    city: str
    weight: float


class NoSuchRoadError(Exception):
    pass


@app.activity
def load(parcel: Parcel) -> str:
    return f"{parcel.weight:g} kg to {parcel.city}"


@app.activity
def drive(city: str) -> str:
    if city == "Atlantis":
        raise NoSuchRoadError(f"no road leads to {city}")
    return f"delivered in {city}"


@app.orchestrator
def deliver(ctx: OrchestrationContext, parcel: Parcel) -> Orchestration[str]:
    cargo = yield ctx.call_activity(load, input=parcel)
    ctx.set_custom_status(f"{cargo}, on the road")
    return (yield ctx.call_activity(drive, input=parcel.city))


# Each child is an instance of its own, with its own id, history and status.
@app.orchestrator
def deliver_all(ctx: OrchestrationContext, parcels: list[Parcel]) -> Orchestration[list[str]]:
    return (
        yield when_all(
            [
                ctx.call_sub_orchestrator(
                    deliver, input=parcel, instance_id=f"{ctx.instance_id}-{parcel.city}"
                )
                for parcel in parcels
            ]
        )
    )


# A child can be tried again as a whole, and its failure can be caught with the chain of its causes.
@app.orchestrator
def deliver_or_send_back(ctx: OrchestrationContext, parcel: Parcel) -> Orchestration[str]:
    twice = RetryPolicy(first_retry_interval=timedelta(seconds=0.1), max_number_of_attempts=2)
    try:
        return (yield ctx.call_sub_orchestrator(deliver, input=parcel, retry_policy=twice))
    except TaskFailedError as failure:
        if not failure.details.is_caused_by(NoSuchRoadError):
            raise
        *_, first_cause = failure.details.chain()
        return f"sent back: {first_cause.message}"


if __name__ == "__main__":
    with app.running() as client:
        tour = client.schedule_new_orchestration(
            deliver_all, input=[Parcel("Rome", 2.5), Parcel("Oslo", 1)]
        )
        print(client.wait_for_orchestration_completion(tour, timeout=30).get_output())

        child = client.wait_for_orchestration_completion(f"{tour}-Rome")
        print(child.name, child.runtime_status, child.parent_instance_id == tour)

        print(client.run_orchestration(deliver_or_send_back, input=Parcel("Atlantis", 7)))

# Output:
# ['delivered in Rome', 'delivered in Oslo']
# deliver COMPLETED True
# sent back: no road leads to Atlantis
