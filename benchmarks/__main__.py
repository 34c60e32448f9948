"""The command line: ``python -m benchmarks [--only W1,W4] [--systems inprocess,dbos] [--quick]``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable

from benchmarks import report
from benchmarks.catalogue import SYSTEMS, WORKLOADS
from benchmarks.circumstances import Beginning
from benchmarks.run import measure


def main() -> int:
    """Measure, print the tables, and write them if all was run; return the exit status."""
    options = _parser().parse_args()
    beginning = Beginning.now()

    def tell(line: str) -> None:
        print(f"{beginning.seconds_ago:5.0f} s  {line}", file=sys.stderr, flush=True)

    measured = measure(options.systems, options.only, quick=options.quick, tell=tell)
    circumstances = beginning.until_now()
    print(report.to_text(measured))
    if circumstances.warning:
        print(f"\n{circumstances.warning}")
    if options.quick:
        print("\nSizes were small: totals are not comparable with the targets.")
    if not options.quick and options.only == [*WORKLOADS] and options.systems == [*SYSTEMS]:
        path = report.write(measured, circumstances)
        print(f"\nWritten to {path}, and beside it as JSON.")
    return 1 if measured.failures else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure durableflow, its peers and the machine.  A full run takes five "
        "to ten minutes and is written to benchmarks/results.",
        epilog="Workloads: " + "; ".join(f"{name}: {what}" for name, what in WORKLOADS.items()),
    )
    parser.add_argument(
        "--only", type=_names(WORKLOADS), default=[*WORKLOADS], metavar="W1,W4", help="workloads"
    )
    parser.add_argument(
        "--systems",
        type=_names(SYSTEMS),
        default=[*SYSTEMS],
        metavar="A,B",
        help="of " + ", ".join(SYSTEMS),
    )
    parser.add_argument("--quick", action="store_true", help="small sizes, once: does it work?")
    return parser


def _names(known: Iterable[str]) -> Callable[[str], list[str]]:
    """Make a reader of comma-separated names."""

    def names(text: str) -> list[str]:
        chosen = text.split(",")
        unknown = set(chosen) - set(known)
        if unknown:
            raise argparse.ArgumentTypeError(
                f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(known)}"
            )
        return [name for name in known if name in chosen]

    return names


if __name__ == "__main__":
    sys.exit(main())
