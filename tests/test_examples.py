"""Every example is run as a reader would run it, and prints what its last comment says."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
WITH_OUTPUT = sorted(path for path in EXAMPLES.glob("*.py") if "# Output:\n" in path.read_text())
HUMAN_INTERACTION = str(EXAMPLES / "human_interaction.py")

pytestmark = pytest.mark.e2e


def environment(task_hub: str, folder: Path) -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": str(EXAMPLES.parent),
        "PYTHONUNBUFFERED": "1",
        "DURABLEFLOW_TASK_HUB": task_hub,
        "TMPDIR": str(folder),
    }


def run(task_hub: str, folder: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env=environment(task_hub, folder),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=55,
        check=False,
    )


def expected_output(example: Path) -> str:
    comment = example.read_text().partition("# Output:\n")[2]
    return "".join(line.removeprefix("# ") for line in comment.splitlines(keepends=True))


def lines_of(stream: IO[str] | None) -> IO[str]:
    assert stream is not None
    return stream


def order_that_waits(output: IO[str]) -> str:
    """Read until somebody has been asked to approve an order; return its instance id.

    Two threads print, so that what they say may come in either order, and on one line.
    """
    text = ""
    while not ("Please approve" in text and "to approve it" in text):
        text += next(output)
    return text.partition("Order ")[2].split()[0]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an engine that runs in a process of its own."""
    folder = tmp_path_factory.mktemp("engine")
    with subprocess.Popen(
        [sys.executable, "-m", "durableflow.engine", "--db", "hub.db"],
        cwd=folder,
        env=environment("", folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        yield lines_of(process.stdout).readline().split()[-1]
        process.terminate()


@pytest.fixture(params=["in process", "over gRPC"])
def task_hub(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "over gRPC":
        return str(request.getfixturevalue("engine"))
    return f"sqlite:///{tmp_path / 'hub.db'}"


@pytest.mark.parametrize("example", WITH_OUTPUT, ids=lambda path: path.stem)
def test_an_example_prints_what_it_says(example: Path, task_hub: str, tmp_path: Path) -> None:
    done = run(task_hub, tmp_path, example)

    assert (done.returncode, done.stdout) == (0, expected_output(example)), done.stderr


def test_every_example_but_the_main_job_states_its_output() -> None:
    others = {path.stem for path in EXAMPLES.glob("*.py")} - {path.stem for path in WITH_OUTPUT}

    assert others == {"hash_this_repository"}


def test_an_order_is_approved_at_the_prompt(task_hub: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, HUMAN_INTERACTION, "--ask"],
        env=environment(task_hub, tmp_path),
        input="Ann\n",
        stdout=subprocess.PIPE,
        text=True,
        timeout=55,
        check=True,
    )

    assert done.stdout.splitlines()[-1] == "Order laptop-1 approved by 'Ann'"


def test_an_order_is_approved_from_a_second_terminal(task_hub: str, tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, HUMAN_INTERACTION, "--ask"],
        env=environment(task_hub, tmp_path),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as first:
        output = lines_of(first.stdout)
        order = order_that_waits(output)
        second = run(task_hub, tmp_path, HUMAN_INTERACTION, "--approve", order)

        assert second.returncode == 0, second.stderr
        assert output.readlines()[-1] == "Order laptop-1 approved by 'Me'\n"


def test_the_wait_for_an_approval_survives_a_killed_process(task_hub: str, tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, HUMAN_INTERACTION, "--ask"],
        env=environment(task_hub, tmp_path),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as first:
        order = order_that_waits(lines_of(first.stdout))
        first.kill()

    approved = run(task_hub, tmp_path, HUMAN_INTERACTION, "--approve", order)
    later = run(task_hub, tmp_path, HUMAN_INTERACTION, "--ask", "--order", order)

    assert approved.returncode == 0, approved.stderr
    assert later.stdout.splitlines()[-1] == "Order laptop-1 approved by 'Me'", later.stderr


def test_the_main_job_survives_the_death_of_its_worker(tmp_path: Path) -> None:
    done = run(f"sqlite:///{tmp_path / 'hub.db'}", tmp_path, EXAMPLES / "hash_this_repository.py")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "exit status -9" in done.stdout
    assert "RIGHT" in done.stdout
    assert not list(tmp_path.glob("durableflow-*"))
