"""The shipped routing plugins.

Routing answers three questions: which version a new instance gets, which of a worker's functions
runs an instance of a given version, and which instances the worker asks for at all.  Every plugin
answers the second with ``Run``, ``Abandon`` or ``Fail``, or leaves it to the next one, down to
``ExactVersionRouting``, which is always there and always answers: no combination leaves an
instance without an answer.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import attrs

from durableflow.errors import PluginError
from durableflow.hookspecs import hookimpl
from durableflow.versioning import (
    Abandon,
    Fail,
    Resolution,
    Run,
    Version,
    VersionRequest,
    is_same_major,
    is_same_release,
)

__all__ = [
    "Abandon",
    "ExactVersionRouting",
    "Fail",
    "NewestCompatibleRouting",
    "NewestVersionRouting",
    "Resolution",
    "Run",
    "VersionRequest",
    "WorkerVersionRouting",
]

Match: TypeAlias = Literal["none", "strict", "current_or_older"]
OnMismatch: TypeAlias = Literal["reject", "fail"]


@attrs.frozen
class ExactVersionRouting:
    """The default: the function of exactly the instance's version, else the one without a version.

    A function registered without a version runs every version of its name that has no function
    of its own.  Where there is neither, the instance waits.

    A new instance gets the version that was asked for, where nothing was asked for the newest one
    registered.
    """

    @hookimpl
    def resolve_start_version(
        self, requested: str | None, available: tuple[str | None, ...]
    ) -> str | None:
        """Stamp what was asked for, else the newest version that is registered here."""
        if requested is None and available:
            return available[-1]
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
    def work_item_versions(self, available: tuple[str | None, ...]) -> tuple[str | None, ...]:
        """Ask for the versions that have a function, and for all if there is one without."""
        return available


@attrs.frozen
class NewestCompatibleRouting:
    """The newest function of the same major version that is not older than the instance.

    For teams whose minor versions can take over each other's running instances: with functions
    for ``1.4`` and ``2.0``, an instance of ``1.2`` runs on ``1.4``.  One of ``1.5`` waits, rather
    than run on older code.  Where no function is compatible, the one without a version runs.
    """

    @hookimpl
    def resolve_version(
        self, request: VersionRequest, available: tuple[str | None, ...]
    ) -> Resolution | None:
        """Take the newest compatible function; leave the rest to the next plugin."""
        version = Version(request.version or "")
        fitting = [v for v in available if v and is_same_major(v, version) and version <= v]
        return Run(fitting[-1]) if fitting else None

    @hookimpl
    def work_item_versions(self, available: tuple[str | None, ...]) -> tuple[str | None, ...]:
        """Ask for all, since what is compatible is found out for each."""
        return (None, *available)


@attrs.frozen
class NewestVersionRouting:
    """The newest function, whatever the instance's version.

    For code that can always take over what older code began, and says so where it cannot:
    by ``ctx.patched``, or by comparing ``ctx.version``.
    """

    @hookimpl
    def resolve_version(self, available: tuple[str | None, ...]) -> Resolution | None:
        """Take the newest function."""
        return Run(available[-1]) if available else None

    @hookimpl
    def work_item_versions(self, available: tuple[str | None, ...]) -> tuple[str | None, ...]:
        """Ask for all."""
        return (None, *available)


@attrs.frozen(kw_only=True)
class WorkerVersionRouting:
    """One version for the whole worker, as other SDKs of the Durable Task family have it.

    Attributes:
        version: What the worker runs; None: what has no version.
        match: ``none`` runs everything; ``strict`` runs the same release only (``1.0`` and
            ``1.0.0`` are one); ``current_or_older`` runs that and everything before it.  With
            ``strict`` and ``reject`` the worker asks its engine for the text of its own version
            alone: instances whose version is written in another way wait, visibly, for a worker
            that writes it so.
        on_mismatch: ``reject`` leaves an instance that does not match waiting, for another worker;
            ``fail`` fails it.
        default_version: For new instances and sub-orchestrations that were asked for without a
            version.
    """

    version: str | None = None
    match: Match = "strict"
    on_mismatch: OnMismatch = "reject"
    default_version: str | None = None

    def __attrs_post_init__(self) -> None:
        _check_choice("match", self.match, ("none", "strict", "current_or_older"))
        _check_choice("on_mismatch", self.on_mismatch, ("reject", "fail"))

    @hookimpl
    def resolve_start_version(self, requested: str | None) -> str | None:
        """Stamp what was asked for, else the default version."""
        return requested or self.default_version or requested

    @hookimpl
    def resolve_version(self, request: VersionRequest) -> Resolution | None:
        """Turn down what does not match; leave the rest to the next plugin."""
        if self._matches(Version(request.version or "")):
            return None
        wanted = f"version '{request.version}'" if request.version else "no version"
        own = f"version '{self.version}'" if self.version else "no version"
        rule = "or older" if self.match == "current_or_older" else "only"
        reason = (
            f"The instance of orchestrator '{request.name}' has {wanted}, but this worker runs "
            f"{own} {rule}. Start a worker of that version."
        )
        return Fail(reason) if self.on_mismatch == "fail" else Abandon(reason)

    @hookimpl
    def work_item_versions(self) -> tuple[str | None, ...]:
        """Ask for its own version, and for all if others are to be run, or failed, as well."""
        own = self.version or ""
        if self.match == "strict" and self.on_mismatch == "reject":
            return (own,)
        return (None, own)

    def _matches(self, version: Version) -> bool:
        own = self.version or ""
        if self.match == "none":
            return True
        return is_same_release(version, own) or (self.match != "strict" and version < own)


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise PluginError(
            f"WorkerVersionRouting: {name}={value!r} is none of {', '.join(choices)}."
        )


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
