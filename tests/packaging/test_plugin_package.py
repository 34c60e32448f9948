"""A plugin in a package of its own: built, installed beside durableflow, named in settings, run."""

from __future__ import annotations

import subprocess
import venv
from pathlib import Path

import pytest

from tests.packaging.conftest import Build

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "examples" / "durableflow_fernet"

pytestmark = [
    pytest.mark.packaging,
    pytest.mark.timeout(300),
    pytest.mark.xdist_group("packaging"),
]

PROGRAM = """
from durableflow import App, OrchestrationContext

app = App("orders")

@app.orchestrator
def order(ctx: OrchestrationContext, what: str) -> str:
    return what

if __name__ == "__main__":
    with app.running() as client:
        print(client.run_orchestration(order, input="a lamp"))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, build: Build) -> Path:
    """A folder with a program, and an environment in which both wheels are installed."""
    folder = tmp_path_factory.mktemp("plugin")
    for source in (ROOT, PACKAGE):
        build(source, folder / "dist")
    venv.create(folder / "venv", with_pip=True)
    wheels = [str(path) for path in (folder / "dist").glob("*.whl")]
    python(folder, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", *wheels)
    (folder / "orders.py").write_text(PROGRAM)
    return folder


def python(folder: Path, *words: str, **environment: str) -> str:
    command = [str(folder / "venv" / "bin" / "python"), *words]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, env=environment or None
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_installed_it_is_known_and_not_active(folder: Path):
    (folder / "durableflow.toml").unlink(missing_ok=True)  # the other test names the plugin there
    listed = python(folder, "-m", "durableflow", "plugins", "orders:app")

    active, _, available = listed.partition("Installed, and made active by")
    assert "fernet  durableflow-fernet 0.1.0" in available
    assert "fernet" not in active


def test_named_in_settings_it_is_at_work(folder: Path):
    key = python(
        folder,
        "-c",
        "from cryptography.fernet import Fernet as F; print(F.generate_key().decode())",
    )
    (folder / "durableflow.toml").write_text(f'[plugins.fernet]\nkeys = ["{key.strip()}"]\n')

    listed = python(folder, "-m", "durableflow", "plugins", "orders:app")
    output = python(folder, "orders.py")

    assert listed.splitlines()[1].split() == [
        "fernet",
        "durableflow-fernet",
        "0.1.0",
        "register_payload_codecs",
    ]
    assert output == "a lamp\n"
    assert b"a lamp" not in (folder / "orders.db").read_bytes()
