"""The shipped routing plugins.

Routing answers two questions: which version a new instance gets, and which of a worker's
functions runs an instance of a given version.
"""

from __future__ import annotations

import attrs

from durableflow.hookspecs import hookimpl
from durableflow.versioning import Abandon, Fail, Resolution, Run, VersionRequest

__all__ = ["Abandon", "ExactVersionRouting", "Fail", "Resolution", "Run", "VersionRequest"]


@attrs.frozen
class ExactVersionRouting:
    """The default: the function of exactly the instance's version, else the one without a version.

    A function registered without a version runs every version of its name that has no function
    of its own.  Where there is neither, the instance waits.
    """

    @hookimpl
    def resolve_start_version(self, requested: str | None) -> str | None:
        """Stamp what was asked for, and nothing otherwise."""
        return requested

    @hookimpl
    def resolve_version(
        self, request: VersionRequest, available: tuple[str | None, ...]
    ) -> Resolution:
        """Take the exact version, else the function without one, else wait."""
        version = request.version or None
        if version in available:
            return Run(version)
        if None in available:
            return Run(None)
        return Abandon(_why_nothing_fits(request.name, version, available))

    @hookimpl
    def work_item_versions(self, available: tuple[str | None, ...]) -> tuple[str, ...]:
        """Ask for the registered versions, or for any if one function takes any."""
        return () if None in available else tuple(v for v in available if v is not None)


def _why_nothing_fits(name: str, version: str | None, available: tuple[str | None, ...]) -> str:
    if not available:
        return (
            f"This worker has no orchestrator '{name}'. Register one under this name, "
            "or start a worker that has it."
        )
    wanted = f"version '{version}' of" if version else "instances without a version of"
    versions = ", ".join(f"'{v}'" for v in available)
    return (
        f"No function of this worker runs {wanted} orchestrator '{name}'; it has {versions}. "
        "Register the missing one, or a function without a version, which takes every version."
    )
