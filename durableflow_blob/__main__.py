"""``python -m durableflow_blob gc``: removes blobs that no instance refers to any more."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Sequence

import attrs

from durableflow import App, DurableFlowError, SetupError
from durableflow_blob.gc import collect
from durableflow_blob.plugin import BlobPayloads


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    options = _parser().parse_args(arguments)
    try:
        with contextlib.closing(_plugin(options)) as plugin:
            found = collect(plugin, options.task_hub, dry_run=options.dry_run)
    except (DurableFlowError, ValueError) as error:
        print(
            f"Stopped before the end: {error} What was deleted until then, if anything was, nobody "
            "needs; mend this and run it again.",
            file=sys.stderr,
        )
        return 1
    done = "would be deleted" if options.dry_run else "deleted"
    for blob in found.garbage if options.dry_run else ():
        print(f"{blob.size:12,}  {blob.stored_at:%Y-%m-%d}  {blob.name}")
    print(
        f"{found.instances:,} instances refer to {found.live:,} blobs; "
        f"{len(found.garbage):,} unused ones of {found.size_bytes:,} bytes {done}, "
        f"{found.young:,} are younger than a week and stay, and so do {found.awaited:,} that may "
        "be in events or results for instances that have made no turn since."
    )
    return 0


def _plugin(options: argparse.Namespace) -> BlobPayloads:
    """Make the plugin as the options say, or else as the settings do.

    Raises:
        SetupError: neither names an account.
    """
    container = {} if options.container is None else {"container_name": options.container}
    if options.account_url is not None or options.connection_string is not None:
        return BlobPayloads(
            connection_string=options.connection_string,
            account_url=options.account_url,
            **container,
        )
    app = App("gc", root=options.root)
    plugins = [each.plugin for each in app.plan(task_hub=options.task_hub[0]).plugins.active]
    for plugin in plugins:
        if isinstance(plugin, BlobPayloads):
            return attrs.evolve(plugin, **container)
    raise SetupError(
        "no storage account is named. Give --account-url, or name the account where your app does: "
        f"[plugins.blob] in {app.root / 'durableflow.toml'}, or DURABLEFLOW_PLUGINS_BLOB_… of the "
        "environment. In another folder, give it by --root."
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m durableflow_blob", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="gc")
    gc = commands.add_parser("gc", help="remove blobs that no instance refers to any more")
    gc.add_argument(
        "--task-hub",
        action="append",
        required=True,
        help="address of a task hub that uses the container; give all of them",
    )
    account = gc.add_mutually_exclusive_group()
    account.add_argument(
        "--account-url",
        help="https://<account>.blob.core.windows.net, with DefaultAzureCredential; unless given, "
        "the account and the container are those of the settings of the plugin",
    )
    account.add_argument(
        "--connection-string",
        help="of the account instead; others on this machine see it here, and do not in settings",
    )
    gc.add_argument("--container", help="another one than the settings say, or the default")
    gc.add_argument(
        "--root", default=".", help="the folder of durableflow.toml; unless given, here"
    )
    gc.add_argument("--dry-run", action="store_true", help="only say what would go")
    return parser


if __name__ == "__main__":
    sys.exit(main())
