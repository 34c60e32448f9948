"""Results as a table for people and as JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from attrs import asdict

from benchmarks.catalogue import COMPARISONS, LIMITS, METRICS, SYSTEMS, Metric
from benchmarks.circumstances import Circumstances
from benchmarks.run import Measured

RESULTS: Final = Path(__file__).parent / "results"
MACHINE: Final = "machine"

Row = tuple[str, ...]


def write(measured: Measured, circumstances: Circumstances) -> Path:
    """Write ``<cores>-cores-python-<version>`` as ``.md`` and ``.json``; return the former."""
    RESULTS.mkdir(exist_ok=True)
    version = ".".join(circumstances.python.split(".")[:2])
    path = RESULTS / f"{circumstances.cores}-cores-python-{version}.md"
    path.write_text(to_markdown(measured, circumstances), encoding="utf-8")
    document = {
        "circumstances": asdict(circumstances),
        "results": measured.results,
        "failures": measured.failures,
    }
    path.with_suffix(".json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return path


def to_markdown(measured: Measured, circumstances: Circumstances) -> str:
    """Return the whole report."""
    packages = ", ".join(f"{name} {version}" for name, version in circumstances.packages.items())
    parts = [
        f"One run of {circumstances.seconds / 60:.0f} minutes on {circumstances.cores} cores with "
        f"Python {circumstances.python}, {packages}.",
        circumstances.warning,
        "A number in brackets is how much of its target was reached; 1 or more meets it.",
        _markdown(workload_rows(measured)),
        _markdown(comparison_rows(measured)),
        _markdown(limit_rows(measured)),
        *_not_measured(measured),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def to_text(measured: Measured) -> str:
    """Return the tables for a terminal."""
    tables = [workload_rows(measured), comparison_rows(measured), limit_rows(measured)]
    parts = [_text(table) for table in tables if len(table) > 1]
    return "\n\n".join([*parts, *_not_measured(measured)])


def workload_rows(measured: Measured) -> list[Row]:
    """Return a row for each metric that has a result, a column for each system that has one."""
    systems = [name for name in SYSTEMS if name in measured.results and name != MACHINE]
    header = ("", "unit", "target", *[SYSTEMS[name].title for name in systems])
    return [header, *_metric_rows(measured, systems)]


def comparison_rows(measured: Measured) -> list[Row]:
    """Return how many times as good one system is as another."""
    rows: list[Row] = [("times as good", "", "than", "measured", "target")]
    for name, ours, theirs, target in COMPARISONS:
        value, peer = (measured.results.get(one, {}).get(name) for one in (ours, theirs))
        if value and peer:
            times = value / peer if METRICS[name].more_is_better else peer / value
            titles = SYSTEMS[ours].title, SYSTEMS[theirs].title
            rows.append((METRICS[name].label, *titles, f"{times:.1f}", f"≥ {target}"))
    return rows


def limit_rows(measured: Measured) -> list[Row]:
    """Return what the machine allows."""
    results = measured.results.get(MACHINE, {})
    found = [
        (metric.label, metric.unit, _number(results[name]))
        for name, metric in METRICS.items()
        if metric.workload == LIMITS and name in results
    ]
    return [("limits of the machine", "unit", "measured"), *found]


def _not_measured(measured: Measured) -> Iterator[str]:
    for system, failures in measured.failures.items():
        for workload, reason in failures.items():
            yield f"Not measured: {workload} on {SYSTEMS[system].title}: {reason.rstrip('.')}."


def _metric_rows(measured: Measured, systems: list[str]) -> Iterator[Row]:
    for name, metric in METRICS.items():
        values = [measured.results[system].get(name) for system in systems]
        if metric.workload != LIMITS and any(value is not None for value in values):
            cells = [_cell(metric, system, v) for system, v in zip(systems, values, strict=True)]
            yield (metric.label, metric.unit, _target(metric), *cells)


def _cell(metric: Metric, system: str, value: float | None) -> str:
    if value is None:
        return "–"
    target = {"inprocess": metric.inprocess, "remote": metric.remote}.get(system)
    if not target:
        return _number(value)
    reached = value / target if metric.more_is_better else target / value if value > 0 else None
    return _number(value) + (f" ({reached:.2f})" if reached else "")


def _target(metric: Metric) -> str:
    targets = [target for target in (metric.inprocess, metric.remote) if target is not None]
    if not targets:
        return ""
    sign = "≥" if metric.more_is_better else "≤"
    return f"{sign} " + "; ".join(dict.fromkeys(f"{target:,g}" for target in targets))


def _number(value: float) -> str:
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _markdown(rows: list[Row]) -> str:
    if len(rows) < 2:
        return ""
    head, *body = rows
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ("---",) * len(head), *body))


def _text(rows: list[Row]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if number == 0 else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )
