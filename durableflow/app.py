"""``App``: the definition of what runs, and the one place where all parts are put together."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, TypeAlias, Unpack

from durableflow.activation import NamedPlugins
from durableflow.blueprint import Blueprint, Decorators
from durableflow.client import AsyncClient, Client, ClientCore
from durableflow.converter import Converter
from durableflow.engine.plugin import EnginePlugin
from durableflow.errors import RegistrationError, SetupError
from durableflow.hub.address import parse_task_hub_address, unknown_scheme
from durableflow.hub.plugin import RemotePlugin
from durableflow.hub.profiles import SPEAKERS
from durableflow.origin import Origin
from durableflow.plan import Connection, Plan
from durableflow.plugins import PluginSet
from durableflow.process import serve
from durableflow.routing import ExactVersionRouting
from durableflow.running import Run, Running, core_of
from durableflow.settings import SettingArguments, Settings, load_settings

Lifespan: TypeAlias = Callable[["App"], AbstractAsyncContextManager[Any]]


class App(Decorators):
    """Orchestrators and activities, and how they are to be run.

    Making an app has no effects: it opens nothing, starts nothing and reads no setting.  It can be
    run many times, and while it runs nothing more can be registered.

    Args:
        name: What people call it; the embedded engine's file is named after it.
        root: Where relative files belong; unless given, the folder of the module that makes the
            app (in a REPL or a notebook the current directory).
        plugins: Objects with ``hookimpl`` methods, the first registered first.  Those that
            settings name (``[plugins.<name>]``) come after them.
        lifespan: Called with the app by every run of a worker; the async context manager that it
            returns is entered before the first activity and left after the last one.  What it
            yields is ``ctx.state`` in activities.
        settings: ``task_hub="sqlite:///orders.db"`` and the other settings.  They win over the
            environment, which wins over ``durableflow.toml``.
    """

    def __init__(
        self,
        name: str,
        *,
        root: str | Path | None = None,
        plugins: Sequence[object] = (),
        lifespan: Lifespan | None = None,
        **settings: Unpack[SettingArguments],
    ) -> None:
        super().__init__()
        if not isinstance(name, str) or not name or set(name) & set("/\\\0?#"):
            raise SetupError(
                f"App({name!r}): give it a short name, for example App('orders'); "
                "the file of the embedded engine is named after it."
            )
        _check(root is None or isinstance(root, str | Path), "root", root, "a folder")
        _check(
            lifespan is None or callable(lifespan), "lifespan", lifespan, "a function of the app"
        )
        _check(isinstance(plugins, Iterable), "plugins", plugins, "a list of objects with hooks")
        self.name = name
        self._root = root
        self._settings = settings
        self._lifespan = lifespan
        self._origin = _origin_of_caller()
        self._converter: Converter | None = None
        self._runs: list[Run] = []
        self._started: Run | None = None
        self._plugins = PluginSet()
        self._named_plugins = NamedPlugins(self._plugins)
        for plugin in (EnginePlugin(), RemotePlugin(), ExactVersionRouting(), *plugins):
            self._plugins.register(plugin)
        self._plugins.init_app(self)

    def __repr__(self) -> str:
        return f"<App {self.name!r}>"

    @property
    def root(self) -> Path:
        """The folder that relative files belong to, absolute."""
        return self._origin.folder() if self._root is None else Path(self._root).absolute()

    @property
    def converter(self) -> Converter:
        """What turns its payloads into JSON and back, with what its plugins taught it."""
        if self._converter is None:
            self._load_settings()
            self._converter = Converter([self._plugins.configure_converter])
        return self._converter

    def register_blueprint(self, blueprint: Blueprint, /) -> None:
        """Take in everything that a blueprint has now and will have later.

        Raises:
            RegistrationError: a name and version is taken already, or the app is running.
        """
        if not isinstance(blueprint, Blueprint):
            raise RegistrationError(
                f"register_blueprint takes a Blueprint, not {type(blueprint).__name__}."
            )
        blueprint.attach(self._registries[0])

    def register_plugin(self, plugin: object, /, *, name: str | None = None) -> None:
        """Make a plugin active in this app, from its next run on.

        Args:
            plugin: An object with ``hookimpl`` methods.
            name: What errors call it; its class unless given.

        Raises:
            PluginError: it does not fit the hooks that it implements.
        """
        self._plugins.register(plugin, name)
        self._converter = None

    def run(self, *, task_hub: str | None = None) -> None:
        """Serve as a worker until SIGINT or SIGTERM, then drain and return.

        It prints what it serves, and configures logging if nobody else has.  A second signal ends
        the process at once.

        Args:
            task_hub: Where to run, this time.

        Raises:
            SetupError: the app is not fit to run, or this is not the main thread.
            OperationalError: the task hub cannot be opened, or the worker had to give up.
        """
        serve(self._new_run(task_hub))

    def running(self, *, task_hub: str | None = None) -> Running:
        """Run a worker for the length of a ``with`` block, which gets a client.

        ``with app.running() as client`` gives a ``Client``; ``async with`` gives an
        ``AsyncClient`` and runs ``async def`` activities on the caller's loop.

        Args:
            task_hub: Where to run, this time.

        Raises:
            SetupError: on entering; the app is not fit to run.
            OperationalError: on entering; the task hub cannot be opened.
        """
        return Running(lambda: self._new_run(task_hub), self._runs)

    def start(self, *, task_hub: str | None = None) -> None:
        """Start a worker in the background; ``stop`` ends it.

        Args:
            task_hub: Where to run, this time.

        Raises:
            SetupError: the app is not fit to run, or was started already.
            OperationalError: the task hub cannot be opened.
        """
        if self._started is not None:
            raise SetupError(f"App {self.name!r} was started already. Call app.stop() first.")
        run = self._new_run(task_hub)
        run.start()
        self._started = run

    def stop(self) -> None:
        """Drain and stop what ``start`` started; block until it has.  Else do nothing."""
        run, self._started = self._started, None
        if run is not None:
            run.stop()

    def client(self, *, task_hub: str | None = None) -> Client:
        """Make a client, for a ``with`` block; it connects when it is first used.

        Args:
            task_hub: Where to connect to; unless given, where this app is running in this
                process, else where it would run.

        Raises:
            SetupError: the settings cannot be used.
        """
        return Client(self._client_core(task_hub))

    def async_client(self, *, task_hub: str | None = None) -> AsyncClient:
        """Make a client whose methods are awaited, for an ``async with`` block.

        Args:
            task_hub: As for ``client``.

        Raises:
            SetupError: the settings cannot be used.
        """
        return AsyncClient(self._client_core(task_hub))

    def plan(self, *, task_hub: str | None = None) -> Plan:
        """Read the settings, and put together what a run consists of.  Nothing is opened.

        For tools; ``run``, ``running`` and the clients do it by themselves.

        Args:
            task_hub: Where to run, this time.

        Raises:
            SetupError: the settings cannot be used.
        """
        settings = self._load_settings(task_hub)
        address = parse_task_hub_address(settings.task_hub, root=settings.root)
        profile = SPEAKERS.get(address.options.get("engine", address.scheme))
        if profile is not None:
            settings = settings.fitting(profile.max_payload_bytes)
        factories = self._plugins.task_hub_factories(self)
        if address.scheme not in factories:
            raise unknown_scheme(address, factories)
        return Plan(
            app=self,
            app_name=self.name,
            registry=self._registries[0],
            plugins=self._plugins,
            converter=self.converter,
            settings=settings,
            address=address,
            factory=factories[address.scheme],
        )

    def _client_core(self, task_hub: str | None) -> ClientCore:
        plan = (
            self._runs[-1].plan if task_hub is None and self._runs else self.plan(task_hub=task_hub)
        )
        return core_of(plan, Connection(plan, "client"), self._runs)

    def _new_run(self, task_hub: str | None) -> Run:
        self._origin.check_imported_once(self)
        lifespan = self._lifespan
        return Run(
            self.plan(task_hub=task_hub),
            None if lifespan is None else lambda: lifespan(self),
            self._runs,
        )

    def _load_settings(self, task_hub: str | None = None) -> Settings:
        """Read the settings, and make active the plugins that they name."""
        arguments = dict(self._settings)
        if task_hub is not None:
            arguments["task_hub"] = task_hub
        settings = load_settings(
            app_name=self.name, root=self.root, arguments=arguments, environ=os.environ
        )
        if settings.trace_hooks:
            self._plugins.trace()
        if self._named_plugins.activate(settings):
            self._converter = None
        return settings


def _check(fits: bool, argument: str, value: object, expected: str) -> None:
    if not fits:
        raise SetupError(f"App: {argument}={value!r:.80}: give {expected}.")


def _origin_of_caller() -> Origin:
    """Find the module that makes an app: the nearest frame outside of this module."""
    frame = inspect.currentframe()
    while frame is not None and frame.f_globals is globals():
        frame = frame.f_back
    return Origin.of(frame.f_globals if frame is not None else {})
