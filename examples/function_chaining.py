"""Function chaining: activities one after the other, each result kept for good.

Run it with ``python examples/function_chaining.py``.
"""

from durableflow import ActivityContext, App, Orchestration, OrchestrationContext

app = App("function_chaining")


@app.activity
def hello(ctx: ActivityContext, city: str) -> str:
    return f"Hello {city}!"


@app.orchestrator
def greet_cities(ctx: OrchestrationContext) -> Orchestration[list[str]]:
    tokyo = yield ctx.call_activity(hello, input="Tokyo")
    seattle = yield ctx.call_activity(hello, input="Seattle")
    london = yield ctx.call_activity(hello, input="London")
    return [tokyo, seattle, london]


if __name__ == "__main__":
    with app.running() as client:
        print(client.run_orchestration(greet_cities))

# Output:
# ['Hello Tokyo!', 'Hello Seattle!', 'Hello London!']
