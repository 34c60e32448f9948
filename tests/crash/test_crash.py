"""A sample of the crash suite; ``make crash`` kills two hundred times."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

RUN = Path(__file__).with_name("run.py")


@pytest.mark.e2e
@pytest.mark.timeout(240)
def test_what_was_acknowledged_survives_kills_of_owners_and_joined_workers() -> None:
    done = subprocess.run(
        [sys.executable, str(RUN), "--kills", "8", "--seed", "7"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    acknowledged = re.search(r"(\d+) acknowledged starts", done.stdout)
    assert acknowledged is not None
    assert int(acknowledged.group(1)) > 5
