"""Which engine can do what: the one table, and the errors that it leads to.  Data; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Final

from attrs import field, frozen
from google.protobuf.message import Message

from durableflow._proto import task_hub_pb2 as pb
from durableflow.errors import CallError
from durableflow.protocol.status import Status


class Feature(Enum):
    """What not every engine can do; the values are for people."""

    QUERY = "queries of instances"
    LIST_IDS = "lists of instance ids"
    HISTORY = "reading an instance's history"
    PURGE_MANY = "purging by filter"
    RESTART = "restarting an instance"
    REWIND = "rewinding an instance"
    ENTITIES = "entities"
    VERSIONS = "versions of instances"
    TAGS = "tags"
    FILTERS = "work-item filters"
    HISTORY_STREAMING = "history streaming"
    PING = "health pings"
    ABANDON = "giving work items back"
    SEND_EVENT = "events from one instance to another"
    WORK_BEFORE_NEW = "work started in the turn that continues as new"


YES: Final = "yes"
NO: Final = "no"
DROPPED: Final = "dropped"
LATER: Final = "not yet"
UNKNOWN: Final = "not known"

OWN: Final = "durableflow-"
"""What the names of our own tags begin with."""

_HINTS: Final[Mapping[Feature, str]] = {
    Feature.QUERY: "Keep the ids of what you start, and ask for each by get_orchestration_state.",
    Feature.LIST_IDS: "Keep the ids of what you start.",
    Feature.HISTORY: "get_orchestration_state tells status, input, output and failure.",
    Feature.PURGE_MANY: "Purge each instance by its id, with purge_orchestration.",
    Feature.RESTART: "Start a new instance with the same input.",
    Feature.REWIND: "Start a new instance with the same input.",
    Feature.ENTITIES: "Keep the state in an orchestration that waits for events, or elsewhere.",
    Feature.VERSIONS: (
        "Leave version= out, or let versions travel in names: add versions=in-name to the address, "
        "as in grpc://localhost:4001?versions=in-name, for all workers and clients alike."
    ),
    Feature.TAGS: "Leave them out, or put what they say into the input.",
    Feature.SEND_EVENT: "Let an activity raise the event, by a client.",
    Feature.WORK_BEFORE_NEW: "Await what was started, then call continue_as_new.",
    Feature.ABANDON: "The engine hands the work item out again when its lock has run out.",
}


class FeatureMissingError(CallError):
    """The engine lacks what the call is about; nothing was sent.

    Attributes:
        feature: Its name, as in the table.
        engine: The engine's name.
        hint: What to do instead.
    """

    def __init__(self, feature: str, engine: str, hint: str) -> None:
        super().__init__(Status.UNIMPLEMENTED, f"{engine} does not support {feature}. {hint}")
        self.feature = feature
        self.engine = engine
        self.hint = hint


@frozen
class EngineProfile:
    """What is known about a kind of engine.

    Attributes:
        key: Names it in addresses: ``?engine=key``.
        title: Its name, for people.
        support: What it can do; ``YES`` where nothing else is said.
        statuses: What it means by errors that it sends as UNKNOWN, by a part of their text.
        advice: What to do about a status.
        max_payload_bytes: How large a payload it takes, if that is known.
    """

    key: str
    title: str
    support: Mapping[Feature, str] = field(factory=dict)
    statuses: Mapping[str, Status] = field(factory=dict)
    advice: Mapping[Status, str] = field(factory=dict)
    max_payload_bytes: int | None = None

    def supports(self, feature: Feature) -> bool:
        """Whether it can be used as the protocol has it; what is dropped cannot."""
        return self.support.get(feature, YES) == YES

    def refusal(self, feature: Feature) -> FeatureMissingError:
        """Make the error for a use of what it lacks."""
        hint = _HINTS.get(feature, "Use another engine, or do without it.")
        return FeatureMissingError(feature.value, self.title, hint)


EMBEDDED: Final = EngineProfile(
    "durableflow",
    "the embedded engine",
    support=dict.fromkeys(
        (Feature.LIST_IDS, Feature.RESTART, Feature.REWIND, Feature.ENTITIES), LATER
    ),
)

SCHEDULER: Final = EngineProfile(
    "dts",
    "Durable Task Scheduler",
    advice={
        Status.PERMISSION_DENIED: (
            "The identity needs a role on the task hub or its scheduler: 'Durable Task Data "
            "Contributor' for everything, 'Durable Task Worker' for workers (which may then be "
            "unable to start or query), 'Durable Task Data Reader' for looking only; a new "
            "assignment takes minutes. A scheduler also answers this to every address that its IP "
            "allow-list lacks, and an empty list lacks all."
        ),
        Status.UNAUTHENTICATED: (
            "Check Authentication= and the ids beside it in the connection string, that its "
            "identity can log in on this machine, and that the machine's clock is right."
        ),
    },
    max_payload_bytes=1024 * 1024,
)

DURABLETASK_GO: Final = EngineProfile(
    "durabletask-go",
    "durabletask-go",
    support={
        **dict.fromkeys(Feature, NO),
        Feature.VERSIONS: DROPPED,
        Feature.TAGS: DROPPED,
        Feature.WORK_BEFORE_NEW: DROPPED,
    },
    statuses={
        "no such instance exists": Status.NOT_FOUND,
        "orchestration instance already exists": Status.ALREADY_EXISTS,
        "orchestration has not yet completed": Status.FAILED_PRECONDITION,
        "unimplemented": Status.UNIMPLEMENTED,
    },
)

DAPR: Final = EngineProfile(
    "dapr",
    "Dapr Workflow",
    support={
        **dict.fromkeys(Feature, NO),
        Feature.LIST_IDS: "own call",
        Feature.HISTORY: "own call",
        Feature.REWIND: "rerun from an event",
        Feature.VERSIONS: "own mechanism",
        Feature.TAGS: DROPPED,
        Feature.HISTORY_STREAMING: "own mechanism",
        Feature.SEND_EVENT: UNKNOWN,
        Feature.WORK_BEFORE_NEW: UNKNOWN,
    },
)
"""For the table only: its dialect of the protocol is not ours."""

TABLE: Final = (EMBEDDED, SCHEDULER, DURABLETASK_GO, DAPR)
SPEAKERS: Final = {profile.key: profile for profile in (EMBEDDED, SCHEDULER, DURABLETASK_GO)}
"""The engines that speak the dialect of this package."""

_OF_METHODS: Final[Mapping[str, Feature]] = {
    "query_instances": Feature.QUERY,
    "list_instance_ids": Feature.LIST_IDS,
    "stream_instance_history": Feature.HISTORY,
    "restart_instance": Feature.RESTART,
    "rewind_instance": Feature.REWIND,
    "signal_entity": Feature.ENTITIES,
    "get_entity": Feature.ENTITIES,
    "query_entities": Feature.ENTITIES,
    "clean_entity_storage": Feature.ENTITIES,
    "abandon_orchestrator_task": Feature.ABANDON,
    "abandon_activity_task": Feature.ABANDON,
}


def unknown_engine(description: str) -> EngineProfile:
    """Make the profile of an engine that is expected to do everything, until it says that not."""
    return EngineProfile("", description)


def feature_of(method: str) -> Feature | None:
    """Return what a call of the port is the whole of."""
    return _OF_METHODS.get(method)


def features_used(method: str, request: Message) -> Iterator[Feature]:
    """Return what a call makes use of."""
    feature = feature_of(method)
    if feature is not None:
        yield feature
    if isinstance(request, pb.CreateInstanceRequest):
        if request.version.value:
            yield Feature.VERSIONS
        if _has_tags(request.tags):
            yield Feature.TAGS
    elif isinstance(request, pb.PurgeInstancesRequest):
        if request.WhichOneof("request") not in (None, "instanceId"):
            yield Feature.PURGE_MANY
    elif isinstance(request, pb.OrchestratorResponse):
        for action in request.actions:
            yield from _features_of_action(action, is_alone=len(request.actions) == 1)


def _features_of_action(action: pb.OrchestratorAction, *, is_alone: bool) -> Iterator[Feature]:
    match action.WhichOneof("orchestratorActionType"):
        case "scheduleTask":
            if _has_tags(action.scheduleTask.tags):
                yield Feature.TAGS
        case "createSubOrchestration":
            if action.createSubOrchestration.version.value:
                yield Feature.VERSIONS
            if _has_tags(action.createSubOrchestration.tags):
                yield Feature.TAGS
        case "completeOrchestration":
            yield from _features_of_end(action.completeOrchestration, is_alone=is_alone)
        case "sendEvent":
            yield Feature.SEND_EVENT
        case "sendEntityMessage":
            yield Feature.ENTITIES


def _features_of_end(
    complete: pb.CompleteOrchestrationAction, *, is_alone: bool
) -> Iterator[Feature]:
    if complete.newVersion.value:
        yield Feature.VERSIONS
    is_new = complete.orchestrationStatus == pb.ORCHESTRATION_STATUS_CONTINUED_AS_NEW
    if is_new and not is_alone:
        yield Feature.WORK_BEFORE_NEW


def _has_tags(tags: Mapping[str, str]) -> bool:
    # Those of our own, such as the number of an attempt, are a help and no more.
    return any(not name.startswith(OWN) for name in tags)


def capability_table() -> str:
    """Write the table as Markdown."""
    rows = [["", *(profile.title for profile in TABLE)], ["---"] * (1 + len(TABLE))]
    rows += [
        [feature.value, *(profile.support.get(feature, YES) for profile in TABLE)]
        for feature in Feature
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
