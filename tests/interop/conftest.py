"""The engines of ``engines``, each started once for all the tests of a process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.interop.engines import Served, go_sidecar, our_engine, sdk_engine


class Engines:
    """Starts an engine when the first test wants it."""

    def __init__(self, factory: pytest.TempPathFactory) -> None:
        self._factory = factory
        self._running: dict[str, Served] = {}
        self.stack = ExitStack()

    def __getitem__(self, name: str) -> Served:
        if name not in self._running:
            folder = self._factory.mktemp("engine")
            context = {
                "durabletask in memory": sdk_engine,
                "durabletask-go": lambda: go_sidecar(folder),
                "ours": lambda: our_engine(folder),
            }[name]()
            self._running[name] = self.stack.enter_context(context)
        return self._running[name]


@pytest.fixture(scope="session")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engines]:
    engines = Engines(tmp_path_factory)
    with engines.stack:
        yield engines
