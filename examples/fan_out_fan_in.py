"""Fan-out/fan-in: as many activities in parallel as there is work, joined into one summary.

Run it with ``python examples/fan_out_fan_in.py``.
"""

from typing import TypedDict

from durableflow import ActivityContext, App, Orchestration, OrchestrationContext, when_all

app = App("fan_out_fan_in")


class Summary(TypedDict):
    work_items: list[str]
    results: list[int]
    total: int


@app.activity
def get_work_items(ctx: ActivityContext, text: str) -> list[str]:
    return text.split()


@app.activity
def process_work_item(ctx: ActivityContext, item: str) -> int:
    return len(item)


@app.orchestrator
def summarize(ctx: OrchestrationContext, text: str) -> Orchestration[Summary]:
    work_items = yield ctx.call_activity(get_work_items, input=text)
    results = yield when_all(
        [ctx.call_activity(process_work_item, input=item) for item in work_items]
    )
    return {"work_items": work_items, "results": results, "total": sum(results)}


if __name__ == "__main__":
    with app.running() as client:
        print(
            client.run_orchestration(summarize, input="what survives a crash is what was written")
        )

# Output:
# {'work_items': ['what', 'survives', 'a', 'crash', 'is', 'what', 'was', 'written'], 'results': [4, 8, 1, 5, 2, 4, 3, 7], 'total': 34}
