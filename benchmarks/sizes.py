"""How much of each workload is run: in full, or quickly to see whether it works."""

from __future__ import annotations

from attrs import evolve, frozen


@frozen(kw_only=True)
class Sizes:
    """The sizes of the workloads, and how long measuring may take.

    Attributes:
        chains: W1: orchestrations at once.
        steps: W1: activities of each, one after the other.
        alone: W1: times that ten steps run alone.
        fan: W2: activities in parallel.
        long: W3: activities of one long orchestration.
        starts: W4: orchestrations of one activity.
        idle: W6: orchestrations that wait for a timer of an hour.
        asleep: W7: the same, many more.
        woken: W7: how many of them are woken.
        replayed: Activities in the history of an orchestration that is replayed.
        settle_seconds: Pause before the memory of idle orchestrations is read.
        repetitions: Times that a measurement is made, the median counting...
        budget_seconds: ...unless they have taken that long.
    """

    chains: int = 20
    steps: int = 100
    alone: int = 21
    fan: int = 1_000
    long: int = 2_000
    starts: int = 2_000
    idle: int = 5_000
    asleep: int = 100_000
    woken: int = 1_000
    replayed: int = 1_000
    settle_seconds: float = 15
    repetitions: int = 3
    budget_seconds: float = 8


FULL = Sizes()
QUICK = Sizes(
    steps=20,
    alone=5,
    fan=100,
    long=200,
    starts=200,
    idle=500,
    asleep=5_000,
    woken=100,
    replayed=200,
    settle_seconds=12,
    repetitions=1,
)


def sizes_for(system: str, *, quick: bool) -> Sizes:
    """Return the sizes for a system: smaller where a peer would take minutes."""
    sizes = QUICK if quick else FULL
    if system == "sdk":
        return evolve(sizes, long=min(sizes.long, 600), replayed=min(sizes.replayed, 300))
    if system == "dbos":
        return evolve(sizes, starts=min(sizes.starts, 500))
    return sizes
