"""Building distributions from a copy of their source: others use the tree at the same time."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Build = Callable[[Path, Path], None]

# What a distribution has no part in, or what running and building leaves behind.
LEFT_OUT = shutil.ignore_patterns(
    *(".*", "__pycache__", "*.egg-info", "build", "dist", "node_modules", "_build"),
    *("*.db*", "engine-go"),
)


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Build the wheel and the sdist of a source folder into another one."""

    def build(source: Path, into: Path) -> None:
        copy = tmp_path_factory.mktemp("source") / source.name
        shutil.copytree(source, copy, ignore=LEFT_OUT)
        command = [sys.executable, "-m", "build", "--outdir", str(into), str(copy)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    return build
