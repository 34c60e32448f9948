"""How ``Client`` blocks: where it may, and how a call gets to the hub loop and back."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine
from typing import Any, TypeVar

from durableflow.client.face import Face
from durableflow.errors import UsageError

T = TypeVar("T")


class BlockingFace(Face):
    """The part of ``Client`` that is not an operation."""

    def _check(self) -> None:
        super()._check()
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return
        if loop is self._core.app_loop() or not hasattr(sys, "ps1"):
            raise UsageError(
                "A call of Client blocks, and the asyncio loop of this thread would stand still. "
                "Use app.async_client() here: it has the same methods, awaited."
            )

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        if self._core.on_open is not None:
            try:
                self._core.loop.run(self._core.open())
            except BaseException:
                work.close()
                raise
        return self._core.loop.run(work)
