"""Passes a large payload through whatever durableflow_blob is installed; argument: a storage account."""

from __future__ import annotations

import sys

from azure.storage.blob import ContainerClient

from durableflow import App, Orchestration, OrchestrationContext
from durableflow_blob import BlobPayloads

connection_string, container_name = sys.argv[1], "smoke"
app = App(
    "smoke",
    plugins=[
        BlobPayloads(
            connection_string=connection_string, container_name=container_name, threshold_bytes=1000
        )
    ],
)


@app.activity
def twice(text: str) -> str:
    return 2 * text


@app.orchestrator
def chain(ctx: OrchestrationContext, text: str) -> Orchestration[str]:
    return (yield ctx.call_activity(twice, input=text))


def main() -> None:
    text = "0123456789" * 1000
    with app.running(task_hub="sqlite://") as client:
        assert client.run_orchestration(chain, input=text) == 2 * text
    with ContainerClient.from_connection_string(connection_string, container_name) as container:
        assert list(container.list_blob_names())
    print("it runs")


if __name__ == "__main__":
    main()
