"""What is measured, on what, and what we aim for.  Data only."""

from __future__ import annotations

from typing import Final

from attrs import frozen


@frozen
class SystemKind:
    """A system to measure: its column in the table, and the workloads that it can run."""

    title: str
    workloads: frozenset[str]


@frozen
class Metric:
    """A row of the table.

    Attributes:
        more_is_better: Which way a ratio to the target is to be read.
        inprocess: The target in process; None if there is none.
        remote: The target over gRPC, with the worker in a process of its own.
    """

    workload: str
    label: str
    unit: str
    more_is_better: bool = False
    inprocess: float | None = None
    remote: float | None = None


W1, W2, W3, W4, W5, W6, W7 = "W1", "W2", "W3", "W4", "W5", "W6", "W7"
W5_STORED = "W5-stored"
REPLAY, COMMITS, LIMITS = "replay", "commits", "limits"

WORKLOADS: Final = {
    LIMITS: "what the machine allows",
    W1: "20 orchestrations at once, each 100 activities one after the other; 10 activities alone",
    W2: "one orchestration, 1,000 activities in parallel",
    W3: "one orchestration, 2,000 activities one after the other",
    W4: "2,000 orchestrations of one activity, started by one client and waited for",
    W5: "one orchestration, 1 MB passed through 10 activities one after the other",
    W5_STORED: "the same with a payload store, Azurite, for which there has to be Node.js",
    W6: "5,000 orchestrations that wait for a timer of an hour",
    W7: "100,000 of them, owner killed by SIGKILL, served again, 1,000 woken by an event",
    REPLAY: "an orchestration with a history of 1,000 activities, on a worker that was restarted",
    COMMITS: "commits of the SQLite file per activity, for W1",
}

_TIMED: Final = frozenset({W1, W2, W3, W4, W6})
_LARGE: Final = frozenset({W5, W5_STORED})

SYSTEMS: Final = {
    "inprocess": SystemKind("durableflow, in process", _TIMED | _LARGE | {W7, REPLAY, COMMITS}),
    "remote": SystemKind("durableflow, over gRPC", _TIMED | _LARGE | {REPLAY, COMMITS}),
    "sdk": SystemKind("durabletask, in-memory backend", _TIMED | {W5_STORED, REPLAY}),
    "sdk_on_engine": SystemKind("durabletask on our engine", frozenset({W1, W2, W4})),
    "dbos": SystemKind("DBOS, SQLite", _TIMED | {COMMITS}),
    "machine": SystemKind("the machine", frozenset({LIMITS})),
}

METRICS: Final = {
    "w1_steps": Metric(W1, "W1: 20 chains of 100", "steps/s", True, 4_500, 800),
    "w1_alone": Metric(W1, "W1: 10 steps alone, p50", "ms", False, 7, 24),
    "w2_total": Metric(W2, "W2: fan-out of 1,000", "s", False, 0.25, 0.6),
    "w3_total": Metric(W3, "W3: long history of 2,000", "s", False, 1.5, 5),
    "w3_first": Metric(W3, "W3: step among the first 100", "ms"),
    "w3_last": Metric(W3, "W3: step among the last 100", "ms"),
    "w3_growth": Metric(W3, "W3: last / first", "×", False, 1.1, 1.1),
    "w3_steps": Metric(W3, "W3: steps run", ""),
    "w4_starts": Metric(W4, "W4: 2,000 starts", "orchestrations/s", True, 2_500, 500),
    "w5_inline": Metric(W5, "W5: 1 MB through 10 steps, inline", "s", False, 0.12),
    "w5_stored": Metric(W5_STORED, "W5: 1 MB through 10 steps, blob store", "s", False, 0.5),
    "w5_uploads": Metric(W5_STORED, "W5: uploads (PUT)", "", False, 11, 11),
    "w5_downloads": Metric(W5_STORED, "W5: downloads (GET), worker and client", ""),
    "w5_cold": Metric(W5_STORED, "W5: downloads of a replay, empty cache", "", False, 11, 11),
    "w5_warm": Metric(W5_STORED, "W5: downloads of a replay after it", "", False, 0, 0),
    "w6_schedule": Metric(W6, "W6: 5,000 idle, scheduled in", "s", False, 2, 2),
    "w6_memory": Metric(W6, "W6: memory per waiting instance", "KB", False, 2, 2),
    "w6_threads": Metric(W6, "W6: threads added", "", False, 0, 0),
    "w6_cpu": Metric(W6, "W6: CPU while idle", "%", False, 0.3, 0.3),
    "w7_schedule": Metric(W7, "W7: 100,000 idle, scheduled in", "s"),
    "w7_memory": Metric(W7, "W7: memory once served again", "MB", False, 150),
    "w7_ready": Metric(W7, "W7: ready after SIGKILL, in", "s", False, 2),
    "w7_wake": Metric(W7, "W7: waking 1,000", "s", False, 1),
    "replay_alone": Metric(REPLAY, "cold replay, per past step", "µs", False, 10),
    "replay": Metric(REPLAY, "cold replay, with loading the history", "µs"),
    "commits_alone": Metric(COMMITS, "commits per step, alone", "", False, 1.5, 1.5),
    "commits_chains": Metric(COMMITS, "commits per step, 20 chains", "", False, 0.1, 0.1),
    "fdatasync": Metric(LIMITS, "fdatasync of 4 KiB", "ms"),
    "sqlite_commits": Metric(LIMITS, "SQLite (WAL, FULL) one-row commits", "/s", True),
    "sqlite_commits_default": Metric(LIMITS, "SQLite (as it comes) one-row commits", "/s", True),
    "grpc_sequential": Metric(LIMITS, "gRPC unary calls, one at a time", "/s", True),
    "grpc_concurrent": Metric(LIMITS, "gRPC unary calls, 20 at a time", "/s", True),
    "thread_hop": Metric(LIMITS, "hop to a thread and back", "µs"),
}

COMPARISONS: Final = (
    ("w1_steps", "inprocess", "dbos", 10),
    ("w1_steps", "remote", "sdk", 3),
    ("w1_steps", "sdk_on_engine", "sdk", 1),
    ("w2_total", "sdk_on_engine", "sdk", 1),
    ("w4_starts", "sdk_on_engine", "sdk", 1),
)
"""Metric, one system, another, and how many times as good the first one is to be."""
