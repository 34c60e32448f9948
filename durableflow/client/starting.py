"""From a reference, an input and options to a ``CreateInstanceRequest``.

Whatever is wrong with them is said here, before anything is sent.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import attrs

from durableflow._proto import task_hub_pb2 as pb
from durableflow.client.core import ClientCore
from durableflow.client.models import TERMINAL, OrchestrationIdReusePolicy, OrchestrationStatus
from durableflow.client.references import AnyOrchestrator
from durableflow.client.replies import wire_statuses
from durableflow.errors import NotRegisteredError, UsageError
from durableflow.hub.names import new_id
from durableflow.protocol.times import to_timestamp
from durableflow.protocol.traces import TraceContext
from durableflow.registry import ABSENT, OrchestratorDefinition
from durableflow.routing import Run, VersionRequest
from durableflow.spelling import similar_names, why_mistaken

log = logging.getLogger(__name__)

_REPLACEABLE: Final = {
    OrchestrationIdReusePolicy.REPLACE_TERMINAL: wire_statuses(TERMINAL),
    OrchestrationIdReusePolicy.TERMINATE_AND_REPLACE: wire_statuses(OrchestrationStatus),
}


@attrs.frozen(kw_only=True)
class Options:
    """The options of a start, as the caller gave them."""

    instance_id: str | None = None
    version: str | None = None
    start_at: datetime | None = None
    tags: Mapping[str, str] | None = None
    reuse_id_policy: OrchestrationIdReusePolicy = OrchestrationIdReusePolicy.FAIL

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Options:
        """Take options as the caller named them.

        Raises:
            UsageError: there is no such option, or its value is of no use.
        """
        known = [field.name for field in attrs.fields(cls)]
        for name in options:
            if name not in known:
                raise UsageError(
                    f"There is no option {name!r} for the start of an orchestration. There are "
                    f"{', '.join(known)}."
                )
        return cls(**options)

    def __attrs_post_init__(self) -> None:
        _check(self.instance_id is None or isinstance(self.instance_id, str), self, "instance_id")
        _check(self.version is None or isinstance(self.version, str), self, "version")
        _check(self.start_at is None or _is_aware(self.start_at), self, "start_at")
        _check(
            isinstance(self.reuse_id_policy, OrchestrationIdReusePolicy), self, "reuse_id_policy"
        )
        _check(self.tags is None or _is_text_to_text(self.tags), self, "tags")


@attrs.frozen(kw_only=True)
class Start:
    """A start that is ready to be sent.

    Attributes:
        id_is_ours: Whether the id was made here, so that no other start can have it.
        output_type: What the orchestrator returns; Any if that is not known.
        trace: Where in a trace the instance belongs; None if nothing traces.
    """

    name: str
    version: str | None
    input: str | None
    instance_id: str
    id_is_ours: bool
    output_type: Any
    options: Options
    trace: TraceContext | None = None

    @property
    def is_repeatable(self) -> bool:
        """Whether sending it twice starts one instance."""
        return self.options.reuse_id_policy not in _REPLACEABLE

    def to_request(self) -> pb.CreateInstanceRequest:
        """Build the message, a new one each time."""
        request = pb.CreateInstanceRequest(
            instanceId=self.instance_id, name=self.name, tags=self.options.tags
        )
        if self.version is not None:
            request.version.value = self.version
        if self.input is not None:
            request.input.value = self.input
        if self.options.start_at is not None:
            request.scheduledStartTimestamp.CopyFrom(to_timestamp(self.options.start_at))
        if self.trace is not None:
            request.parentTraceContext.CopyFrom(self.trace.to_message())
        replaceable = _REPLACEABLE.get(self.options.reuse_id_policy)
        if replaceable is not None:
            request.orchestrationIdReusePolicy.replaceableStatus.extend(replaceable)
        return request


def plan_start(
    core: ClientCore, orchestrator: AnyOrchestrator, input: Any, options: Options
) -> Start:
    """Resolve the reference, check the input, and settle version and id.

    A function stands for its own name and version.  A name may stand for code that lives
    elsewhere: it is refused only where it is certainly a mistake (``check_name``).  An explicit
    version wins over both; then come the app's default version and what the plugins say.

    Raises:
        NotRegisteredError: the function is not registered here, or the name is a mistake.
        UsageError: an input is missing, or given to a function that takes none; a bad option.
        ConversionError: the input does not fit its declared type.
    """
    requested = options.version
    if isinstance(orchestrator, str):
        name, given = orchestrator, None
        requested = core.default_version if requested is None else requested
    else:
        given = core.registry.orchestrator_of(orchestrator)
        name = given.name
        requested = given.version or "" if requested is None else requested
    available = core.registry.orchestrator_versions(name)
    version = core.plugins.resolve_start_version(name, requested, None, available)
    definition = given
    if given is None or version != given.version:
        find = core.registry.find_orchestrator
        definition = find(name, version) or find(name, None) or given
    if definition is None:
        check_name(core, name, version)
    instance_id = options.instance_id or new_id()
    return Start(
        name=name,
        version=version,
        input=_serialize(core, name, definition, input),
        instance_id=instance_id,
        id_is_ours=not options.instance_id,
        output_type=Any if definition is None else definition.output_type,
        options=options,
        trace=core.plugins.resolve_trace_context(name, instance_id),
    )


def check_name(core: ClientCore, name: str, version: str | None) -> None:
    """Refuse a name, unknown to this app in this version, that can only be a mistake.

    A name that is merely similar to one of the app's own gets a warning, once.

    Raises:
        NotRegisteredError: with what was probably meant.
    """
    available = core.registry.orchestrator_versions(name)
    private_hub = core.hub.description if core.hub_is_private else None
    if private_hub is not None:
        resolution = core.plugins.resolve_version(VersionRequest(name, version, ""), available)
        if isinstance(resolution, Run):
            return
        if available:
            raise NotRegisteredError(resolution.reason)
    if available or name in core.unknown_names:
        return
    known = [definition.name for definition in core.registry.orchestrators()]
    mistake = why_mistaken("orchestrator", name, known, private_hub=private_hub)
    if mistake is not None:
        raise NotRegisteredError(mistake)
    core.unknown_names.add(name)
    similar = similar_names(name, known)
    if similar:
        log.warning(
            "This app has no orchestrator '%s'; its instances wait for a worker that has it. "
            "Was %s meant?",
            name,
            similar,
        )


def _serialize(
    core: ClientCore, name: str, definition: OrchestratorDefinition | None, value: Any
) -> str | None:
    where = f"input of orchestrator '{name}'"
    if definition is None:
        return core.dumps(value, where=where)
    parameter = definition.input
    if parameter is None:
        if value is not None:
            raise UsageError(
                f"Orchestrator '{name}' ({definition.source}) takes no input, but an input of type "
                f"{type(value).__qualname__} was given. Leave it out, or give the function a second "
                "parameter."
            )
        return None
    if value is None:
        if parameter.when_absent() is ABSENT:
            raise UsageError(
                f"Orchestrator '{name}' ({definition.source}) needs an input of type "
                f"{type_name(parameter.type)}. Pass input=, or give its parameter a default."
            )
        return None
    return core.dumps(value, parameter.type, where=where)


def type_name(declared: Any) -> str:
    """Return a type as people write it."""
    return declared.__qualname__ if isinstance(declared, type) else str(declared)


def _is_text_to_text(tags: object) -> bool:
    return isinstance(tags, Mapping) and all(
        isinstance(text, str) for item in tags.items() for text in item
    )


def _is_aware(time: object) -> bool:
    return isinstance(time, datetime) and time.tzinfo is not None


_EXPECTED: Final = {
    "instance_id": "text; write str(...)",
    "version": "text, for example '2.0.0'",
    "start_at": "a datetime with a time zone",
    "reuse_id_policy": "an OrchestrationIdReusePolicy",
    "tags": "a mapping of text to text",
}


def _check(fits: bool, options: Options, option: str) -> None:
    if not fits:
        raise UsageError(f"{option}={getattr(options, option)!r:.80}: give {_EXPECTED[option]}.")
