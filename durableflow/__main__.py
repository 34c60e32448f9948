"""The command line: ``python -m durableflow run module:app`` starts a worker, and so on."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import TypeAlias

from durableflow._version import __version__
from durableflow.activation import installed_plugins
from durableflow.app import App
from durableflow.errors import DurableFlowError, OperationalError, SetupError, UsageError
from durableflow.plugin_listing import list_plugins
from durableflow.testing import export_history, replay_each

_EXIT_FAILED = 1
_EXIT_USAGE = 2

Command: TypeAlias = Callable[[App, argparse.Namespace], int]


class TargetError(SetupError):
    """What was named on the command line is no app."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the process's exit status."""
    options = _parser().parse_args(arguments)
    try:
        app = load_app(options.target)
    except TargetError as error:  # other errors are the module's own, and need their traceback
        return _say(error, _EXIT_USAGE)
    commands: dict[str, Command] = {
        "run": _run,
        "plugins": _plugins,
        "replay": _replay,
        "export": _export,
        "versions": _versions,
    }
    try:
        return commands[options.command](app, options)
    except (SetupError, UsageError) as error:
        return _say(error, _EXIT_USAGE)
    except OperationalError as error:
        return _say(error, _EXIT_FAILED)


def _run(app: App, options: argparse.Namespace) -> int:
    app.run(task_hub=options.task_hub)
    return 0


def _plugins(app: App, options: argparse.Namespace) -> int:
    plan = app.plan(task_hub=options.task_hub)
    print(list_plugins(app.name, plan.plugins.active, installed_plugins().values()))
    return 0


def _replay(app: App, options: argparse.Namespace) -> int:
    total = failed = 0
    for done in replay_each(app, options.histories):
        total += 1
        failed += done.problem is not None
        verdict = "fits" if done.problem is None else "DOES NOT FIT"
        print(f"{done.source}: {done.orchestrator}, {done.events} events: {verdict}")
        if done.problem is not None:
            print(f"    {done.problem}")
    print(f"{total} replayed, {failed or 'none'} with differences")
    return _EXIT_FAILED if failed else 0


def _export(app: App, options: argparse.Namespace) -> int:
    with app.client(task_hub=options.task_hub) as client:
        print(export_history(client.get_orchestration_history(options.instance)), end="")
    return 0


def _versions(app: App, options: argparse.Namespace) -> int:
    with app.client(task_hub=options.task_hub) as client:
        found = client.get_versions_in_use(include_ended=options.all)
    for each in found:
        version = f"version '{each.version}'" if each.version else "without a version"
        counts = [f"{count} {status.name}" for status, count in each.counts.items()]
        parked = [f"{each.parked} of them parked"] if each.parked else []
        print(f"{each.name} {version}: {', '.join(counts + parked)}")
    if not found:
        print("There are no instances.")
    return 0


def _say(error: DurableFlowError, status: int) -> int:
    print(f"durableflow: {error}", file=sys.stderr)
    return status


def load_app(target: str) -> App:
    """Import the app that ``module:attribute`` names.

    Raises:
        TargetError: there is no such module, or no such app in it; it says what there is.
    """
    module_name, colon, attribute = target.partition(":")
    if module_name.endswith(".py") or "/" in module_name:
        module_name = module_name.removesuffix(".py").strip("./").replace("/", ".")
        raise TargetError(
            f"{target!r} is a file. Name the module and the app in it: "
            f"python -m durableflow run {module_name}:{attribute or 'app'}"
        )
    if not all(part.isidentifier() for part in module_name.split(".")):
        raise TargetError(f"{target!r} names no module. Write MODULE:APP, for example orders:app.")
    module = _import(module_name)
    if not colon:
        attribute = "app"
    found = getattr(module, attribute, None)
    if isinstance(found, App):
        return found
    apps = [name for name, value in vars(module).items() if isinstance(value, App)]
    advice = (
        f"It has {', '.join(f'{module_name}:{name}' for name in apps)}."
        if apps
        else f"It has no App at all; write `{attribute} = App({module_name!r})` in it."
    )
    what = "has no attribute" if found is None else f"has a {type(found).__name__} as"
    raise TargetError(
        f"Module {module_name!r} {what} {attribute!r}, but an App is needed. {advice}"
    )


def _import(module_name: str) -> ModuleType:
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if module_name != missing and not module_name.startswith(f"{missing}."):
            raise  # the module exists, and something that it imports does not
        raise TargetError(
            f"There is no module {missing!r} in {folder} or where Python looks for modules. "
            "Run this in the folder that holds it, or set PYTHONPATH."
        ) from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m durableflow", description="Durable orchestrations in Python."
    )
    parser.add_argument("--version", action="version", version=f"durableflow {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add(commands, "run", "start a worker", "Start a worker of an app.")
    _add(
        commands,
        "plugins",
        "list plugins",
        "List the plugins that are active in an app, and those that are installed.",
    )
    replay = _add(
        commands,
        "replay",
        "replay histories against the code",
        "Replay stored histories against an app's code, and fail if it does anything else than they "
        "say. Nothing is run but orchestrators, and no task hub is opened.",
    )
    replay.add_argument(
        "histories", nargs="+", metavar="FILE", help="a history, or a folder of .json files"
    )
    export = _add(
        commands,
        "export",
        "write an instance's history",
        "Write the history of an instance to standard output, for replay.",
    )
    export.add_argument("instance", metavar="INSTANCE", help="the id of the instance")
    versions = _add(
        commands,
        "versions",
        "count instances by version",
        "Count the instances that have not ended by orchestrator and version: what may not be "
        "deleted from the code yet.",
    )
    versions.add_argument("--all", action="store_true", help="count those too that have ended")
    return parser


def _add(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    summary: str,
    description: str,
) -> argparse.ArgumentParser:
    """Add a command that has an app as its first argument."""
    command = commands.add_parser(name, help=summary, description=description)
    command.add_argument("target", metavar="MODULE:APP", help="the app, for example orders:app")
    command.add_argument(
        "--task-hub",
        metavar="ADDRESS",
        help="where to run, for example sqlite:///orders.db or grpc://localhost:4001",
    )
    return command


if __name__ == "__main__":
    sys.exit(main())
