"""Where an app was made: its root folder, and whether its module was imported twice.

``python orders.py`` runs the file as a module named ``__main__``.  When another module then says
``import orders``, the file runs a second time and makes a second app: what registers itself there
is unknown to the first.  Nothing can mend that while the program runs, so it is told at the start.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Final, Protocol

import attrs

from durableflow.errors import SetupError

_MAIN: Final = "__main__"
_MAIN_NAMES: Final = {_MAIN, "__mp_main__"}


class _Named(Protocol):
    @property
    def name(self) -> str: ...


@attrs.frozen
class Origin:
    """The module that made an app."""

    module: str
    file: Path | None

    @classmethod
    def of(cls, module_globals: Mapping[str, Any]) -> Origin:
        """Read it from a module's globals.  A REPL or a notebook has no file."""
        file = module_globals.get("__file__")
        return cls(
            str(module_globals.get("__name__", _MAIN)),
            Path(file).resolve() if isinstance(file, str) else None,
        )

    def folder(self) -> Path:
        """The folder of the module; the current directory where there is no file."""
        return self.file.parent if self.file else Path.cwd()

    def check_imported_once(self, app: _Named) -> None:
        """Refuse to run an app whose module was imported a second time.

        Raises:
            SetupError: says how to start it instead.
        """
        module = self._second_module()
        if module is None or self.file is None:
            return
        name = module.__name__
        twins = [
            variable
            for variable, value in vars(module).items()
            if type(value) is type(app) and value.name == app.name
        ]
        if not twins:
            return  # it makes its app only where it runs as the program
        raise SetupError(
            f"{self.file.name} runs as the program and was also imported, as '{name}'. That made "
            f"two apps named '{app.name}', and functions registered with the other one are "
            f"unknown here. Start it with `python -m durableflow run {name}:{twins[0]}`."
        )

    def _second_module(self) -> ModuleType | None:
        """Return the module that runs as ``__main__`` under the name that others imported."""
        if self.module != _MAIN or self.file is None:
            return None
        for name, module in list(sys.modules.items()):
            other = getattr(module, "__file__", None)
            if (
                name not in _MAIN_NAMES
                and isinstance(other, str)
                and other.endswith(self.file.name)
                and Path(other).resolve() == self.file
            ):
                return module
        return None
