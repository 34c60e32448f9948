"""PluginSet: one pluggy manager per app, behind typed methods; nobody else calls hooks."""

from __future__ import annotations

import inspect
import itertools
import logging
import traceback
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

import attrs
import pluggy

from durableflow import hookspecs
from durableflow.errors import PluginError
from durableflow.protocol.traces import TraceContext
from durableflow.versioning import Abandon, Fail, Resolution, Run, VersionRequest

if TYPE_CHECKING:
    import cattrs

    from durableflow.hub.channel import Channel
    from durableflow.hub.port import TaskHubFactory
    from durableflow.notifications import ActivityFinished, ActivityStarted, TurnFinished
    from durableflow.protocol.payload_codec import PayloadCodec

logger = logging.getLogger(__name__)

_HOOKS: Final = tuple(
    name for name, value in vars(hookspecs).items() if hasattr(value, f"{hookspecs.PROJECT}_spec")
)

_CODEC: Final = ("encodes", "encode", "decodes", "decode")


@attrs.frozen
class ActivePlugin:
    """A plugin that takes part.

    Attributes:
        name: What errors call it.
        plugin: The object itself.
        hooks: What it implements.
    """

    name: str
    plugin: object
    hooks: tuple[str, ...]


class PluginSet:
    """The active plugins of one app.

    An exception that comes out of a plugin gets a note that names the plugin.
    """

    def __init__(self) -> None:
        self._manager = _new_manager()
        # A hook that nobody implements costs one look-up here.
        self._implemented: set[str] = set()
        self._app: object | None = None
        self._traced = False

    @property
    def active(self) -> tuple[ActivePlugin, ...]:
        """The active plugins, in the order in which they are asked."""
        found = []
        for name, plugin in reversed(self._manager.list_name_plugin()):
            callers = self._manager.get_hookcallers(plugin) or []
            hooks = sorted(caller.name for caller in callers)
            found.append(ActivePlugin(name, plugin, tuple(hooks)))
        return tuple(found)

    def trace(self) -> None:
        """Log every call of a hook from now on: who was asked, and what came of it."""
        if not self._traced:
            self._traced = True
            self._manager.add_hookcall_monitoring(lambda *_: None, _log_call)

    def register(self, plugin: object, name: str | None = None) -> None:
        """Make a plugin active; those registered last are asked first.

        Args:
            plugin: An object, or a module, with ``hookimpl`` functions.
            name: What errors call it; its class unless given.

        Raises:
            PluginError: it is active already, or does not fit the hooks that it implements.
        """
        if self._manager.is_registered(plugin):
            raise PluginError(f"The plugin {plugin!r}, or its equal, is registered already.")
        if name is not None and self._manager.has_plugin(name):
            raise PluginError(f"Another plugin is registered under the name '{name}'.")
        name = name or self._free_name(plugin)
        implemented = _check(plugin, name)
        try:
            self._manager.register(plugin, name)
        except Exception as error:  # out of init_app, where the app has been introduced already
            error.add_note(_culprit(name, "init_app"))
            self._manager.unregister(plugin)
            raise
        self._implemented |= implemented

    def init_app(self, app: object) -> None:
        """Introduce the app to its plugins, once; those registered later meet it then."""
        if self._app is None:
            self._app = app
            try:
                self._manager.hook.init_app.call_historic(kwargs={"app": app})
            except Exception as error:  # as in _call
                self._name_culprit(error, "init_app")
                raise

    def implement(self, hook: str) -> bool:
        """Whether any plugin implements a hook."""
        return hook in self._implemented

    def configure_converter(self, converter: cattrs.Converter) -> None:
        """Let every plugin change the converter."""
        self._call("configure_converter", converter=converter)

    def configure_channel(self, channel: Channel) -> None:
        """Let every plugin change a channel that is about to be made."""
        self._call("configure_channel", channel=channel)

    def task_hub_factories(self, app: object) -> dict[str, TaskHubFactory]:
        """Collect the engines that plugins offer, by scheme.

        Raises:
            PluginError: two plugins offer one scheme.
        """
        factories: dict[str, TaskHubFactory] = {}
        for offered in self._call("register_task_hubs", app=app) or ():
            for scheme, factory in offered.items():
                if scheme in factories:
                    raise PluginError(
                        f"Two plugins serve task hubs of the scheme '{scheme}'. Those that serve "
                        f"any are {self._implementers('register_task_hubs')}; leave one out."
                    )
                factories[scheme] = factory
        return factories

    def payload_codecs(self, app: object) -> tuple[PayloadCodec, ...]:
        """Collect the codecs that payloads pass through, in their order outward.

        Raises:
            PluginError: a plugin offers something that is no codec.
        """
        offered = self._call("register_payload_codecs", app=app) or ()
        codecs = [codec for codecs in reversed(offered) for codec in codecs]
        for codec in codecs:
            if not all(callable(getattr(codec, name, None)) for name in _CODEC):
                raise self._wrong_answer("register_payload_codecs", codec, "a list of PayloadCodec")
        return tuple(codecs)

    def resolve_start_version(
        self,
        name: str,
        requested: str | None,
        parent_version: str | None,
        available: tuple[str | None, ...],
    ) -> str | None:
        """Return the version to stamp on a new instance; None for none.

        Where no plugin answers, it is what was requested.

        Raises:
            PluginError: a plugin answered something else.
        """
        version = self._call(
            "resolve_start_version",
            name=name,
            requested=requested,
            parent_version=parent_version,
            available=available,
        )
        if version is None:
            version = requested
        elif not isinstance(version, str):
            raise self._wrong_answer("resolve_start_version", version, "text or None")
        return version or None

    def resolve_version(
        self, request: VersionRequest, available: tuple[str | None, ...]
    ) -> Resolution:
        """Return which function runs an instance; where no plugin answers, it waits.

        Raises:
            PluginError: a plugin answered something else.
        """
        answer = self._call("resolve_version", request=request, available=available)
        if answer is None:
            return Abandon(f"No plugin resolved a version for orchestrator '{request.name}'.")
        if not isinstance(answer, Run | Abandon | Fail):
            raise self._wrong_answer("resolve_version", answer, "Run, Abandon or Fail")
        return answer

    def work_item_versions(
        self, name: str, available: tuple[str | None, ...]
    ) -> tuple[str | None, ...]:
        """Return the versions of an orchestrator to ask the engine for; None for all (others).

        Raises:
            PluginError: a plugin answered something else.
        """
        versions = self._call("work_item_versions", name=name, available=available)
        if versions is None:
            return (None,)
        if not isinstance(versions, tuple | list) or not all(
            isinstance(version, str | None) for version in versions
        ):
            raise self._wrong_answer("work_item_versions", versions, "a tuple of text and None")
        return tuple(versions)

    def resolve_trace_context(self, name: str, instance_id: str) -> TraceContext | None:
        """Return where in a trace a new instance belongs; None if nothing traces.

        Raises:
            PluginError: a plugin answered something else.
        """
        context = self._call("resolve_trace_context", name=name, instance_id=instance_id)
        if context is not None and not isinstance(context, TraceContext):
            raise self._wrong_answer("resolve_trace_context", context, "a TraceContext or None")
        return context

    def turn_finished(self, turn: TurnFinished) -> None:
        """Tell that a turn has been made.  Never raises."""
        self._notify("turn_finished", turn=turn)

    def activity_started(self, activity: ActivityStarted) -> None:
        """Tell that an activity begins.  Never raises."""
        self._notify("activity_started", activity=activity)

    def activity_finished(self, activity: ActivityFinished) -> None:
        """Tell that an activity has ended.  Never raises."""
        self._notify("activity_finished", activity=activity)

    def cleanups(self, instance_ids: Sequence[str]) -> tuple[Callable[[], object], ...]:
        """Collect what to call once instances are gone.  Never raises."""
        return tuple(self._notify("register_cleanups", instance_ids=instance_ids) or ())

    def clean_up(self, cleanups: Sequence[Callable[[], object]]) -> None:
        """Call what was collected.  Never raises."""
        for cleanup in cleanups:
            try:
                cleanup()
            except Exception:
                logger.exception("A plugin failed to clean up after a purge")

    def instances_purged(self, instance_ids: Sequence[str]) -> None:
        """Tell that instances are gone.  Never raises."""
        self._notify("instances_purged", instance_ids=instance_ids)

    def app_opened(self, app: object) -> None:
        """Tell that something begins to use the plugins.  Never raises."""
        self._notify("app_opened", app=app)

    def app_closed(self, app: object) -> None:
        """Tell that it has ended.  Never raises."""
        self._notify("app_closed", app=app)

    def worker_started(self, app: object, hub_description: str) -> None:
        """Tell that a worker takes work."""
        self._call("worker_started", app=app, hub_description=hub_description)

    def worker_stopping(self, app: object) -> None:
        """Tell that a worker takes no more work."""
        self._call("worker_stopping", app=app)

    def _call(self, hook: str, **arguments: Any) -> Any:
        if hook not in self._implemented:
            return None
        try:
            return getattr(self._manager.hook, hook)(**arguments)
        except Exception as error:  # whatever a plugin raises goes on, with the plugin's name
            self._name_culprit(error, hook)
            raise

    def _notify(self, hook: str, **arguments: Any) -> Any:
        try:
            return self._call(hook, **arguments)
        except Exception:
            # Who is told of something must not change what happened.
            logger.exception("A plugin failed to take note of %s", hook)
            return None

    def _name_culprit(self, error: Exception, hook: str) -> None:
        """Note which plugin an error comes from: pluggy does not say."""
        names = {
            getattr(implementation.function, "__code__", None): implementation.plugin_name
            for implementation in getattr(self._manager.hook, hook).get_hookimpls()
        }
        for frame, _ in traceback.walk_tb(error.__traceback__):
            if frame.f_code in names:
                error.add_note(_culprit(names[frame.f_code], hook))
                return

    def _implementers(self, hook: str) -> str:
        implementations = getattr(self._manager.hook, hook).get_hookimpls()
        return ", ".join(f"'{implementation.plugin_name}'" for implementation in implementations)

    def _wrong_answer(self, hook: str, answer: object, expected: str) -> PluginError:
        return PluginError(
            f"A plugin answered {hook} with {answer!r} instead of {expected}. "
            f"This hook is implemented by {self._implementers(hook)}."
        )

    def _free_name(self, plugin: object) -> str:
        name = _name_of(plugin)
        if not self._manager.has_plugin(name):
            return name
        numbered = (f"{name} #{number}" for number in itertools.count(2))
        return next(n for n in numbered if not self._manager.has_plugin(n))


def _new_manager() -> pluggy.PluginManager:
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    return manager


def _log_call(
    outcome: Any, hook: str, implementations: Sequence[Any], arguments: Mapping[str, Any]
) -> None:
    asked = ", ".join(f"'{each.plugin_name}'" for each in reversed(implementations))
    try:
        answer = f"-> {outcome.get_result()!r:.200}"
    except Exception as error:  # noqa: BLE001  # whatever a plugin raised; it goes on to the caller
        answer = f"raised {error!r:.200}"
    # Arguments may hold credentials and payloads, so only their names are told.
    logger.info("Hook %s(%s): asked %s %s", hook, ", ".join(arguments), asked or "nobody", answer)


def _culprit(name: str, hook: str) -> str:
    return f"This came from the durableflow plugin '{name}', hook {hook}."


def _name_of(plugin: object) -> str:
    if isinstance(plugin, ModuleType):
        return plugin.__name__
    return f"{type(plugin).__module__}.{type(plugin).__qualname__}"


def _check(plugin: object, name: str) -> set[str]:
    """Try a plugin on a manager of its own; return the hooks that it implements."""
    if inspect.isclass(plugin):
        raise PluginError(
            f"'{plugin.__qualname__}' is a class; a plugin is an object, which can have settings. "
            f"Write {plugin.__name__}(...)."
        )
    trial = _new_manager()
    try:
        trial.register(plugin, name)
        trial.check_pending()
    except pluggy.PluginValidationError as error:
        raise PluginError(
            f"The plugin '{name}' does not fit: {error} The hooks are {', '.join(_HOOKS)}."
        ) from error
    callers = trial.get_hookcallers(plugin) or []
    if not callers:
        raise PluginError(
            f"The plugin '{name}' implements no hook. Mark its methods with "
            f"@durableflow.hookimpl; the hooks are {', '.join(_HOOKS)}."
        )
    for caller in callers:
        function = caller.get_hookimpls()[0].function
        if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
            raise PluginError(
                f"The plugin '{name}' implements {caller.name} by `async def`. Hooks are plain "
                "functions: a coroutine would be taken for an answer."
            )
    return {caller.name for caller in callers}
