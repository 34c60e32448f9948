"""mypy and pyright accept the programs in accepted.py and refuse the marked lines of rejected.py."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
Reports = list[tuple[int, str]]

pytestmark = pytest.mark.timeout(240)


def run_mypy(file: Path, cache: Path) -> Reports:
    options = [
        "--strict",
        "--no-error-summary",
        f"--cache-dir={cache}",
        "--config-file",
        "pyproject.toml",
    ]
    done = python("-m", "mypy", *options, str(file), path=[HERE])
    lines = re.findall(r"^(.+?):(\d+): error: (.*)$", done.stdout, re.MULTILINE)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    assert bool(lines) == bool(done.returncode), done.stdout + done.stderr
    return [(int(line), text) for name, line, text in lines if Path(name).name == file.name]


def run_pyright(file: Path, cache: Path) -> Reports:
    done = python("-m", "pyright", "--outputjson", "--pythonpath", sys.executable, str(file))
    assert done.returncode in (0, 1), done.stdout + done.stderr
    output = json.loads(done.stdout)
    assert output["summary"]["filesAnalyzed"] == 1, output
    errors = [report for report in output["generalDiagnostics"] if report["severity"] == "error"]
    return [(report["range"]["start"]["line"] + 1, report["message"]) for report in errors]


def python(*arguments: str, path: Iterable[Path] = ()) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    environment = {"MYPYPATH": ":".join(map(str, path)), "PATH": "/usr/bin:/bin"}
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


checkers = pytest.mark.parametrize("check", [run_mypy, run_pyright], ids=["mypy", "pyright"])


@checkers
def test_accepted_programs_have_no_reports(check: Callable[[Path, Path], Reports], tmp_path: Path):
    assert check(HERE / "accepted.py", tmp_path) == []


@checkers
def test_marked_lines_of_rejected_programs_are_reported_and_no_others(
    check: Callable[[Path, Path], Reports], tmp_path: Path
):
    file = HERE / "rejected.py"
    lines = file.read_text(encoding="utf-8").splitlines()
    marked = {number for number, line in enumerate(lines, 1) if "# E:" in line}

    reports = check(file, tmp_path)

    assert {line for line, _ in reports} == marked, reports
