"""Every example is run as a reader would run it, and prints what its last comment says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
WITH_OUTPUT = sorted(path for path in EXAMPLES.glob("*.py") if "# Output:\n" in path.read_text())

pytestmark = pytest.mark.e2e


def run(example: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(example)],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": str(EXAMPLES.parent),
            "DURABLEFLOW_TASK_HUB": f"sqlite:///{folder / 'hub.db'}",
            "TMPDIR": str(folder),
        },
        capture_output=True,
        text=True,
        timeout=55,
        check=False,
    )


def expected_output(example: Path) -> str:
    comment = example.read_text().partition("# Output:\n")[2]
    return "".join(line.removeprefix("# ") for line in comment.splitlines(keepends=True))


@pytest.mark.parametrize("example", WITH_OUTPUT, ids=lambda path: path.stem)
def test_an_example_prints_what_it_says(example: Path, tmp_path: Path) -> None:
    done = run(example, tmp_path)

    assert (done.returncode, done.stdout) == (0, expected_output(example)), done.stderr


def test_every_example_but_the_main_job_states_its_output() -> None:
    others = {path.stem for path in EXAMPLES.glob("*.py")} - {path.stem for path in WITH_OUTPUT}

    assert others == {"hash_this_repository"}


def test_the_main_job_survives_the_death_of_its_worker(tmp_path: Path) -> None:
    done = run(EXAMPLES / "hash_this_repository.py", tmp_path)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "exit status -9" in done.stdout
    assert "RIGHT" in done.stdout
    assert not list(tmp_path.glob("durableflow-*"))
