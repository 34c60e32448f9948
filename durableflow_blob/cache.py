"""Payloads that were stored or read lately: ``PayloadCache``, bounded by bytes."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import threading
import weakref
from collections import OrderedDict
from collections.abc import Hashable
from pathlib import Path

import attrs


@attrs.define
class _Spilled:
    path: Path
    size: int


class PayloadCache:
    """Keeps the payloads used last; those that memory has no room for, in a folder.

    Any thread may use it.

    Args:
        most_bytes: How much memory may hold.
        folder: Where to put what does not fit; None: nowhere.  A folder of its own is made in it,
            and removed at the end.
        most_folder_bytes: How much the folder may hold.
    """

    def __init__(self, most_bytes: int, folder: Path | None, most_folder_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._parent = folder
        self._most_folder_bytes = most_folder_bytes if folder is not None else 0
        self._lock = threading.Lock()
        self._kept: OrderedDict[Hashable, bytes] = OrderedDict()
        self._bytes = 0
        self._spilled: OrderedDict[Hashable, _Spilled] = OrderedDict()
        self._spilled_bytes = 0
        self._folder: Path | None = None
        self._files = 0

    def get(self, key: Hashable) -> str | None:
        """Return a payload, if it is still here."""
        with self._lock:
            content = self._kept.get(key)
            if content is not None:
                self._kept.move_to_end(key)
            else:
                spilled = self._spilled.get(key)
                if spilled is None:
                    return None
                self._spilled.move_to_end(key)
                try:
                    content = spilled.path.read_bytes()
                except OSError:  # somebody has tidied up
                    self._spilled_bytes -= self._spilled.pop(key).size
                    return None
        return content.decode()

    def put(self, key: Hashable, content: bytes) -> None:
        """Keep a payload."""
        with self._lock:
            if key in self._kept or key in self._spilled:
                return
            self._kept[key] = content
            self._bytes += len(content)
            while self._bytes > self._most_bytes:
                oldest, content = self._kept.popitem(last=False)
                self._bytes -= len(content)
                self._spill(oldest, content)

    def _spill(self, key: Hashable, content: bytes) -> None:
        size = len(content)
        if size > self._most_folder_bytes:
            return
        while self._spilled_bytes + size > self._most_folder_bytes:
            _, spilled = self._spilled.popitem(last=False)
            self._spilled_bytes -= spilled.size
            spilled.path.unlink(missing_ok=True)
        self._files += 1
        with contextlib.suppress(OSError):  # a cache is a help, and no more
            path = self._own_folder() / str(self._files)
            path.write_bytes(content)
            self._spilled[key] = _Spilled(path, size)
            self._spilled_bytes += size

    def _own_folder(self) -> Path:
        if self._folder is None:
            if self._parent is not None:
                self._parent.mkdir(parents=True, exist_ok=True)
            self._folder = Path(tempfile.mkdtemp(prefix="payloads-", dir=self._parent))
            weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        return self._folder
