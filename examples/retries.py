"""Retries: which failures are tried again, how often, after how long.

Run it with ``python examples/retries.py``.
"""

from datetime import timedelta
from itertools import count

from durableflow import (
    ActivityContext,
    App,
    FailureDetails,
    Orchestration,
    OrchestrationContext,
    RetryPolicy,
    TaskFailedError,
)

app = App("retries")

# 0.1 s, 0.2 s, 0.4 s …, but never more than a second, and no further attempt after half a minute.
# Each wait is shortened by up to a half, so that a thousand orchestrations do not retry in step.
patient = RetryPolicy(
    first_retry_interval=timedelta(seconds=0.1),
    max_number_of_attempts=5,
    backoff_coefficient=2.0,
    max_retry_interval=timedelta(seconds=1),
    retry_timeout=timedelta(seconds=30),
    jitter=0.5,
)


class OutOfStockError(Exception):
    """Trying again cannot help: no retry policy does."""

    is_non_retriable = True


class BusyError(Exception):
    """Travels with what it says about itself."""

    def __init__(self, status: int) -> None:
        super().__init__(f"status {status}")
        self.failure_properties = {"status": status}


# A policy of the activity's own.  A call may name another.
@app.activity(retry_policy=patient)
def reserve(ctx: ActivityContext, product: str) -> str:
    print(f"{product}: attempt {ctx.attempt}")
    if product == "unicorn":
        raise OutOfStockError(f"no {product} left")
    if ctx.attempt < 3:
        raise TimeoutError("the shop does not answer")
    return f"{product} reserved"


answers = count(500)


@app.activity
def pay(ctx: ActivityContext, amount: float) -> str:
    raise BusyError(next(answers))


def is_temporary(failure: FailureDetails) -> bool:
    return failure.is_a(BusyError) and failure.properties["status"] < 502


@app.orchestrator
def buy(ctx: OrchestrationContext, product: str) -> Orchestration[str]:
    try:
        reserved = yield ctx.call_activity(reserve, input=product)
    except TaskFailedError as failure:
        return f"gave up: {failure.details.message}"

    # Only some failures: by the exception's type (`retry_on=BusyError`), or by a function.
    often = RetryPolicy(first_retry_interval=0.1, max_number_of_attempts=9, retry_on=is_temporary)
    try:
        yield ctx.call_activity(pay, input=9.5, retry_policy=often)
    except TaskFailedError as failure:
        return f"{reserved}, but not paid: {failure.details.message}"
    return reserved


if __name__ == "__main__":
    with app.running() as client:
        print(client.run_orchestration(buy, input="unicorn", timeout=30))
        print(client.run_orchestration(buy, input="lamp", timeout=30))

# Output:
# unicorn: attempt 1
# gave up: no unicorn left
# lamp: attempt 1
# lamp: attempt 2
# lamp: attempt 3
# lamp reserved, but not paid: status 502
