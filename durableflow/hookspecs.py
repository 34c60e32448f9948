"""The catalogue of hooks: every place where a plugin can take part.

A plugin is an object (an attrs class: its fields are its settings) whose methods carry
``@durableflow.hookimpl`` and have the names of hooks below; it may leave out arguments that it
does not need.  Plugins are active when given to ``App(plugins=[...])`` or ``register_plugin``,
never because they are installed.  Hooks are plain functions, not ``async def``: pluggy would take
the coroutine for an answer.

The verb tells the convention: ``init`` runs once per app, also for plugins that come later;
``configure`` changes what it is given; ``register`` returns something to add; ``resolve`` stops
at the first answer that is not None, asking the plugin registered last first; a past participle
or ``…ing`` tells that something happened.

This file imports everything but the markers for type checkers only, so that it depends on
nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from pluggy import HookimplMarker, HookspecMarker

if TYPE_CHECKING:
    import cattrs

    from durableflow.app import App
    from durableflow.hub.channel import Channel
    from durableflow.hub.port import TaskHubFactory
    from durableflow.notifications import ActivityFinished, ActivityStarted, TurnFinished
    from durableflow.protocol.payload_codec import PayloadCodec
    from durableflow.protocol.traces import TraceContext
    from durableflow.versioning import Resolution, VersionRequest

PROJECT: Final = "durableflow"

hookspec = HookspecMarker(PROJECT)
hookimpl = HookimplMarker(PROJECT)


@hookspec(historic=True)
def init_app(app: App) -> None:
    """Prepare an app: register activities, orchestrators or blueprints.

    Called once for each app and plugin, when the plugin is registered, also where the app was
    made before.

    Args:
        app: Being set up; nothing of it runs yet.
    """


@hookspec
def configure_converter(converter: cattrs.Converter) -> None:
    """Teach the app's converter to read and write further types.

    Called before a run, once for each converter; every plugin changes the same one, in the order
    of registration reversed.

    Args:
        converter: Registers hooks by ``register_structure_hook`` and the like.
    """


@hookspec
def configure_channel(channel: Channel) -> None:
    """Change the gRPC channel to an engine that others run, before it is made.

    Called when a run or a client opens its task hub, once for each channel; not for the
    connection to another process of the same file.  It must not block.

    Args:
        channel: Its target and role, and what may be changed: options, metadata, TLS credentials,
            interceptors, and where tokens come from.
    """


@hookspec
def register_task_hubs(app: App) -> Mapping[str, TaskHubFactory] | None:
    """Offer engines by the scheme of their addresses.

    Called when a run or a client opens its task hub.

    Args:
        app: The app that opens the hub.

    Returns:
        Scheme, without ``://``, to what makes the hub of an address.
    """


@hookspec
def register_payload_codecs(app: App) -> Sequence[PayloadCodec] | None:
    """Offer codecs: what every payload passes through on its way out, and back on its way in.

    Outward the codecs of plugins registered first come first, inward last: with
    ``plugins=[Encryption(), BlobPayloads()]`` a payload is encrypted and then stored.  All workers
    and clients of a task hub need codecs that understand one another.

    Args:
        app: The app.

    Returns:
        In their order outward.
    """


@hookspec
def register_cleanups(instance_ids: Sequence[str]) -> Callable[[], object] | None:
    """Offer what is to be done once instances are gone, such as to delete what is kept for them.

    Called by our clients before a purge by id, so that a plugin can note what there is for the
    instances: as soon as they are gone, others may start with the same ids, to which nothing that
    has been noted belongs.  It may block.  An exception is logged, and the purge goes on.

    Args:
        instance_ids: Of the instances, which may have no end yet, or be unknown; their children go
            with them if the purge takes them.

    Returns:
        What to call once they are gone; it is not called if they were not.  It may block.
    """


@hookspec(firstresult=True)
def resolve_start_version(
    name: str,
    requested: str | None,
    parent_version: str | None,
    available: tuple[str | None, ...],
) -> str | None:
    """Decide the version that a new instance is stamped with.

    Called by clients for each start, and in orchestrators for each sub-orchestration; there it
    has to be pure, since it runs again at every replay.

    Args:
        name: The orchestrator's name.
        requested: An explicit ``version=``; else, where a function was given to start it, that
            function's version; else the setting ``default_version``; else None. ``""`` asks for
            no version, as a function without one does.
        parent_version: The version of the orchestration that starts this one; None if a client
            does, or if it has none.
        available: As in ``resolve_version``; empty where the app does not have the orchestrator.

    Returns:
        The version, ``""`` for none, or None to leave it to the next plugin; if all do, it is
        what was requested.
    """


@hookspec(firstresult=True)
def resolve_version(
    request: VersionRequest, available: tuple[str | None, ...]
) -> Resolution | None:
    """Decide which function runs an instance.

    Called by workers once for each session, before replay, on the orchestrator thread.  Pure: the
    same arguments must always give the same answer.

    Args:
        request: The instance's orchestrator and version.
        available: The versions registered under this name, None for a function without one;
            oldest first.

    Returns:
        ``Run``, ``Abandon`` or ``Fail``; None to leave it to the next plugin.
    """


@hookspec(firstresult=True)
def work_item_versions(
    name: str, available: tuple[str | None, ...]
) -> tuple[str | None, ...] | None:
    """Decide which versions of an orchestrator a worker asks the engine for.

    Called for each orchestrator when a worker connects.

    Args:
        name: The orchestrator's name.
        available: As in ``resolve_version``.

    Returns:
        The versions by name, ``""`` for instances without one, and None among them for all
        others too: the embedded engine gives an instance to workers that name its version rather
        than to those that take all.  None alone leaves it to the next plugin.
    """


@hookspec(firstresult=True)
def resolve_trace_context(name: str, instance_id: str) -> TraceContext | None:
    """Say where in a trace a new instance belongs.

    Called by clients for each start, where it is made: the caller's thread and context variables
    are at hand.  Where a plugin implements it, workers give each traced orchestration a span id of
    its own, which its activities and sub-orchestrations get as their parent, and of which
    ``turn_finished`` tells.

    Args:
        name: The orchestrator's name.
        instance_id: The instance that is about to be started.

    Returns:
        The span that starts it, or None to leave it to the next plugin; if all do, the instance is
        not traced.
    """


@hookspec
def app_opened(app: App) -> None:
    """Learn that something begins to use an app's plugins: a worker, a client, a replay.

    Called once for each of them, so for ``app.running()`` twice, and followed as often by
    ``app_closed``.  Nothing has been connected yet.  It must not block.  An exception is logged and
    does no harm.

    Args:
        app: The app that is used.
    """


@hookspec
def app_closed(app: App) -> None:
    """Learn that a worker, a client or a replay has ended, and asks nothing of plugins any more.

    A plugin that holds connections or files lets go of them when it has been told this as often as
    ``app_opened``, by all apps that have it.  It must be ready to be used again after that.  It may
    block.  An exception is logged and does no harm.

    Args:
        app: The app that was used.
    """


@hookspec
def worker_started(app: App, hub_description: str) -> None:
    """Learn that a worker is connected and takes work.

    Args:
        app: The app that runs.
        hub_description: Where its task hub is, fit for people.
    """


@hookspec
def worker_stopping(app: App) -> None:
    """Learn that a worker takes no more work and is about to drain.

    Args:
        app: The app that runs.
    """


@hookspec
def turn_finished(turn: TurnFinished) -> None:
    """Learn that a worker has made a turn of an orchestration.

    Called on the orchestrator thread, between turns, so it must be quick.  An exception is logged
    and does no harm.

    Args:
        turn: What happened.
    """


@hookspec
def activity_started(activity: ActivityStarted) -> None:
    """Learn that an activity begins.

    Called where it runs: on its thread, or, if it is ``async def``, in its task on the app's loop,
    where it must not block.  For an activity with ``executor="process"`` it is called on the
    thread of the worker that waits for the process.  An exception is logged and does no harm.

    Args:
        activity: Which one.
    """


@hookspec
def activity_finished(activity: ActivityFinished) -> None:
    """Learn that an activity has ended, in the same place as it began.

    An exception is logged and does no harm.

    Args:
        activity: Which one, for how long, and whether it failed.
    """


@hookspec
def instances_purged(instance_ids: Sequence[str]) -> None:
    """Learn that instances are gone.  To delete what is kept for them, see ``register_cleanups``.

    Called by our clients after a purge by id, with the ids that were asked for and found; not after
    a purge by filter, nor for what other clients purge.  It may block.  An exception is logged.
    Others may have started with these ids since.

    Args:
        instance_ids: Of the instances; their children are gone as well if the purge took them.
    """
