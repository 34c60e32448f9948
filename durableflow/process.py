"""A worker as a process of its own: logging, signals, banner, drain. What ``app.run()`` does."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading

from durableflow.banner import banner
from durableflow.errors import OperationalError, SetupError
from durableflow.running import Run
from durableflow.signals import StopSignals

logger = logging.getLogger(__name__)


def serve(run: Run) -> None:
    """Start a run, wait for SIGINT or SIGTERM, drain, stop.

    Raises:
        SetupError: the app is not fit to run, or this is no place to run it.
        OperationalError: the task hub cannot be opened, or the worker had to give up.
    """
    _check_place()
    _configure_logging()
    settings = run.plan.settings
    for warning in (*settings.hidden, *settings.warnings):
        logger.warning("%s", warning)
    with StopSignals() as signals:
        run.start(on_failure=signals.stop)
        try:
            _say(banner(run.plan, run.connection.bare_hub, run.health_address))
            signals.wait()
            if signals.received is not None:
                _say(
                    f"{signals.received.name}: draining for up to "
                    f"{settings.drain_timeout_seconds:g} s; a second signal stops at once"
                )
        finally:
            run.stop()
    _say(f"app {run.plan.app_name!r} stopped")
    if run.failure is not None:
        raise OperationalError(f"The worker of app {run.plan.app_name!r} gave up: {run.failure}")


def _check_place() -> None:
    if threading.current_thread() is not threading.main_thread():
        raise SetupError(
            "app.run() handles signals, so it must be called from the main thread. "
            "Elsewhere use `with app.running() as client:`, or app.start() and app.stop()."
        )
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise SetupError(
        "app.run() would block the event loop that is running here. "
        "Use `async with app.running() as client:`."
    )


def _configure_logging() -> None:
    if not logging.getLogger().handlers:
        logging.basicConfig(
            level=logging.INFO, format="%(asctime)s %(levelname)-7s %(name)s: %(message)s"
        )


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
