"""The worker and client of the durabletask package, on our durable engine."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from durabletask.client import AsyncTaskHubGrpcClient

from benchmarks.systems.remote import serving
from benchmarks.systems.sdk import QUIET, SdkWorker


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[SdkWorker]:
    """Run it for the length of an ``async with`` block, keeping its files in a folder."""
    database = folder / "bench.db"
    with serving(database) as (address, engine):
        host = address.removeprefix("grpc://")
        async with AsyncTaskHubGrpcClient(host_address=host, logger=QUIET) as client:
            system = SdkWorker(client, host, engine, database)
            try:
                yield system
            finally:
                system.stop()
