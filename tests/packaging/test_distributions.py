"""Both distributions build, install into empty environments, and run there."""

from __future__ import annotations

import configparser
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

from durableflow import __version__
from tests.azurite import emulator
from tests.packaging.conftest import Build

ROOT = Path(__file__).parents[2]
SMOKE = Path(__file__).parent / "smoke.py"
SMOKE_BLOB = Path(__file__).parent / "smoke_blob.py"

# One worker: the distributions are built once.
pytestmark = [
    pytest.mark.packaging,
    pytest.mark.timeout(300),
    pytest.mark.xdist_group("packaging"),
]


class Environment:
    """A virtual environment of its own, with nothing in it."""

    def __init__(self, folder: Path) -> None:
        venv.create(folder / "venv", with_pip=True)
        self.folder = folder

    def python(self, *arguments: str) -> str:
        # Isolated from the tree, so that only what is installed can be imported.
        command = [str(self.folder / "venv" / "bin" / "python"), *arguments]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def pip(self, *arguments: str) -> str:
        return self.python("-m", "pip", "--disable-pip-version-check", *arguments)


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory, build: Build) -> Path:
    """Wheels and sdists of both distributions, in one folder."""
    folder = tmp_path_factory.mktemp("dist")
    for source in (ROOT, ROOT / "durableflow_blob"):
        build(source, folder)
    return folder


def blob_requirements() -> list[str]:
    """What the blob distribution needs beside the core."""
    project = tomllib.loads((ROOT / "durableflow_blob" / "pyproject.toml").read_text())["project"]
    return [each for each in project["dependencies"] if not each.startswith("durableflow")]


def core_requirements() -> list[str]:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    return setup["options"]["install_requires"].split()


def test_each_distribution_has_a_wheel_and_an_sdist(dist: Path):
    names = {path.name for path in dist.iterdir()}

    wheel = "py3-none-any.whl"
    assert {f"durableflow-{__version__}-{wheel}", f"durableflow-{__version__}.tar.gz"} <= names
    assert sum(name.startswith("durableflow_blob-") for name in names) == 2


def test_wheels_hold_the_packages_with_their_data_and_nothing_else(dist: Path):
    (core,) = dist.glob("durableflow-*.whl")
    (blob,) = dist.glob("durableflow_blob-*.whl")

    in_core, in_blob = (set(zipfile.ZipFile(wheel).namelist()) for wheel in (core, blob))

    assert {"durableflow/py.typed", "durableflow/engine/schema.sql"} <= in_core
    assert "durableflow/_proto/task_hub_pb2.pyi" in in_core
    assert {"durableflow_blob/__init__.py", "durableflow_blob/py.typed"} <= in_blob
    assert {name.split("/")[0].split("-")[0] for name in in_core} == {"durableflow"}
    assert {name.split("/")[0].split("-")[0] for name in in_blob} == {"durableflow_blob"}


def test_sdists_carry_the_licence(dist: Path):
    for sdist in dist.glob("*.tar.gz"):
        with tarfile.open(sdist) as archive:
            assert any(name.endswith("/LICENSE") for name in archive.getnames()), sdist


def test_the_blob_extra_installs_from_a_folder_of_wheels_and_runs(dist: Path, tmp_path: Path):
    environment = Environment(tmp_path)
    wheels = str(tmp_path / "wheels")
    environment.pip("download", "--quiet", "--dest", wheels, *map(str, dist.glob("*.whl")))

    environment.pip("install", "--no-index", "--find-links", wheels, "durableflow[blob]")

    assert environment.python("-c", "import durableflow_blob as b; print(b.__version__)").strip()
    assert environment.python("-m", "durableflow", "--version").split()[-1] == __version__
    assert environment.python(str(SMOKE)).strip() == "it runs"


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="wheels as old as these end with 3.11")
def test_the_lowest_versions_of_all_requirements_run(dist: Path, tmp_path: Path):
    environment = Environment(tmp_path)
    lowest = [requirement.replace(">=", "==") for requirement in core_requirements()]
    (wheel,) = dist.glob("durableflow-*.whl")

    environment.pip("install", "--only-binary", ":all:", str(wheel), *lowest)

    assert environment.python(str(SMOKE)).strip() == "it runs"


def test_the_lowest_versions_of_the_blob_extra_run(dist: Path, tmp_path: Path):
    environment = Environment(tmp_path)
    lowest = [each.replace(">=", "==") for each in blob_requirements()]

    environment.pip("install", "--only-binary", ":all:", *map(str, dist.glob("*.whl")), *lowest)

    with emulator.running() as port:
        account = emulator.connection_string(port)
        assert environment.python(str(SMOKE_BLOB), account).strip() == "it runs"


def test_the_core_requires_nothing_but_its_six_libraries():
    names = {requirement.partition(">=")[0] for requirement in core_requirements()}

    assert names == {"attrs", "cattrs", "grpcio", "packaging", "pluggy", "protobuf"}
