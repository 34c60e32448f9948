"""A version-aware orchestrator: new steps for new instances, old steps for those on their way.

Run it with ``python examples/version_aware_orchestrator.py``.
"""

from durableflow import App, Orchestration, OrchestrationContext

app = App("version_aware_orchestrator")


@app.activity
def check(order: str) -> str:
    return f"{order} checked"


@app.activity
def wrap(order: str) -> str:
    return f"{order} wrapped"


@app.activity
def pack(order: str) -> str:
    return f"{order} packed"


# One function for all versions: a step that came later.  Versions compare as people read them, so
# '10.0.0' is newer than '9.0.0'.
@app.orchestrator
def ship(ctx: OrchestrationContext, order: str) -> Orchestration[str]:
    checked = yield ctx.call_activity(check, input=order)
    if ctx.version > "9.0.0":
        checked = yield ctx.call_activity(wrap, input=checked)
    return (yield ctx.call_activity(pack, input=checked))


# One function for all versions: what was written first, left alone while instances run it.
@app.orchestrator
def give(ctx: OrchestrationContext, present: str) -> Orchestration[str]:
    if ctx.version == "1.0.0":
        packed = yield ctx.call_activity(pack, input=present)
        return packed

    wrapped = yield ctx.call_activity(wrap, input=present)
    return (yield ctx.call_activity(pack, input=wrapped))


# One function for each version, side by side under one name.
@app.orchestrator(name="greet", version="1.0.0")
def greet_v1(ctx: OrchestrationContext, name: str) -> str:
    return f"Hello {name}"


@app.orchestrator(version="2.0.0")
def greet(ctx: OrchestrationContext, name: str) -> str:
    return f"Hello {name}, welcome back"


if __name__ == "__main__":
    with app.running() as client:
        for version in ["9.0.0", "10.0.0"]:
            print(client.run_orchestration(ship, input=f"{version}: lamp", version=version))
        for version in ["1.0.0", "2.0.0"]:
            print(client.run_orchestration(give, input=f"{version}: book", version=version))
        for function in [greet_v1, greet]:
            print(client.run_orchestration(function, input="Ann"))

# Output:
# 9.0.0: lamp checked packed
# 10.0.0: lamp checked wrapped packed
# 1.0.0: book packed
# 2.0.0: book wrapped packed
# Hello Ann
# Hello Ann, welcome back
