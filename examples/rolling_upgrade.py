"""A rolling upgrade: version 2 beside version 1, until nothing needs version 1 any more.

Run it with ``python examples/rolling_upgrade.py``.  The three deployments would be three processes,
one after another; here they are three apps on one task hub.
"""

from durableflow import App, Client, InstanceId, Orchestration, OrchestrationContext

NAME = "ship_order"


def charge(order: str) -> str:
    return f"{order} charged"


def insure(order: str) -> str:
    return f"{order} insured"


def ship_order_v1(ctx: OrchestrationContext, order: str) -> Orchestration[list[str]]:
    charged = yield ctx.call_activity(charge, input=order)
    carrier = yield ctx.wait_for_external_event("picked_up", data_type=str)
    return [charged, f"picked up by {carrier}"]


# A new step in the middle: instances of version 1 must not meet it, so it is a version of its own.
def ship_order_v2(ctx: OrchestrationContext, order: str) -> Orchestration[list[str]]:
    charged = yield ctx.call_activity(charge, input=order)
    insured = yield ctx.call_activity(insure, input=order)
    carrier = yield ctx.wait_for_external_event("picked_up", data_type=str)
    return [charged, insured, f"picked up by {carrier}"]


def deployment(*versions: str) -> App:
    """Make an app as it is deployed: with one version of the orchestrator, or with both."""
    app = App("rolling_upgrade")
    app.add_activity(charge)
    app.add_activity(insure)
    for version, function in (("1.0.0", ship_order_v1), ("2.0.0", ship_order_v2)):
        if version in versions:
            app.add_orchestrator(function, name=NAME, version=version)
    return app


def start(client: Client, *orders: str) -> list[InstanceId[list[str]]]:
    """Start by name: the newest version of the app that does it."""
    return [client.schedule_new_orchestration(NAME, input=order) for order in orders]


def finish(client: Client, instances: list[InstanceId[list[str]]], carrier: str) -> None:
    for instance in instances:
        client.raise_orchestration_event(instance, "picked_up", data=carrier)
        state = client.wait_for_orchestration_completion(instance, timeout=30)
        print(f"  {state.version}: {', '.join(state.get_output())}")


def show_versions(client: Client) -> None:
    """Show which versions have instances that have not ended: those must stay in the code."""
    for each in client.get_versions_in_use():
        if each.name == NAME:
            print(f"  {each.total} instances of {each.version}")


if __name__ == "__main__":
    with deployment("1.0.0").running() as client:
        print("Version 1 alone:")
        old = start(client, "lamp", "chair")
        show_versions(client)

        # The new worker starts beside the old one, and then the old one leaves.  It drains: what
        # it has not finished, others go on with.
        upgraded = deployment("1.0.0", "2.0.0")
        upgraded.start()

    with upgraded.client() as client:
        print("Version 2 beside it:")
        new = start(client, "table")
        show_versions(client)
        print("Each instance ends on its own version:")
        finish(client, new, "Ann")
        finish(client, old, "Bob")
    upgraded.stop()

    # No instance of version 1 is left, so its code can go.
    with deployment("2.0.0").running() as client:
        print("Version 1 is gone:")
        show_versions(client)
        finish(client, start(client, "desk"), "Cleo")

# Output:
# Version 1 alone:
#   2 instances of 1.0.0
# Version 2 beside it:
#   2 instances of 1.0.0
#   1 instances of 2.0.0
# Each instance ends on its own version:
#   2.0.0: table charged, table insured, picked up by Ann
#   1.0.0: lamp charged, picked up by Bob
#   1.0.0: chair charged, picked up by Bob
# Version 1 is gone:
#   2.0.0: desk charged, desk insured, picked up by Cleo
