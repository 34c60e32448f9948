"""Apps with large payloads."""

from __future__ import annotations

from typing import Any

from durableflow import ActivityContext, App, OrchestrationContext, TaskFailedError

TIMEOUT = 40


def make_app(*plugins: object, **settings: Any) -> App:
    """An app whose ``chain`` passes text through activities that each change it."""
    app = App("large", plugins=plugins, **settings)

    @app.activity
    def change(ctx: ActivityContext, text: str) -> str:
        return f"{len(text)}{text[1:]}"

    @app.orchestrator
    def chain(ctx: OrchestrationContext, text: str) -> Any:
        for _ in range(10):
            text = yield ctx.call_activity(change, input=text)
        return text

    @app.orchestrator
    def once(ctx: OrchestrationContext, text: str) -> Any:
        return (yield ctx.call_activity(change, input=text))

    @app.orchestrator
    def careful(ctx: OrchestrationContext, text: str) -> Any:
        try:
            yield ctx.call_activity(change, input=text)
        except TaskFailedError as failure:
            return failure.details.message
        return "nothing happened"

    @app.orchestrator
    def listening(ctx: OrchestrationContext, text: str) -> Any:
        ctx.set_custom_status(text)
        return text + (yield ctx.wait_for_external_event("more"))

    @app.orchestrator
    def parent(ctx: OrchestrationContext, text: str) -> Any:
        return (yield ctx.call_sub_orchestrator("once", input=text))

    return app
