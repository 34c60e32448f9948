"""Prints how much memory it takes, at most, to move one payload, in units of its size.

``python -m tests.blob.peak CONNECTION_STRING CONTAINER compressed|plain|bomb``
"""

from __future__ import annotations

import gzip
import random
import sys
import tracemalloc
from collections.abc import Callable

from azure.storage.blob import BlobServiceClient

from durableflow import PayloadTooLargeError
from durableflow.protocol.payload_fields import PAYLOADS
from durableflow_blob import BlobPayloads

SIZE = 16 * 1024 * 1024
WRITTEN = PAYLOADS["ActivityResponse.result"]
READ = PAYLOADS["ActivityRequest.input"]


def main(connection_string: str, container: str, case: str) -> None:
    def plugin() -> BlobPayloads:
        return BlobPayloads(
            connection_string=connection_string,
            container_name=container,
            max_payload_bytes=SIZE + 2,
            compress=case == "compressed",
        )

    if case == "bomb":
        print(peak(lambda: explode(plugin(), connection_string, container)))
        return
    text = f'"{random.Random(0).randbytes(SIZE // 2).hex()}"'
    references: list[str] = []
    print(peak(lambda: references.append(plugin().encode(WRITTEN, text, instance_id="i"))))
    print(peak(lambda: plugin().decode(READ, references[0], instance_id="i")))


def explode(plugin: BlobPayloads, connection_string: str, container: str) -> None:
    bomb = gzip.compress(bytes(40 * SIZE))
    with BlobServiceClient.from_connection_string(connection_string) as service:
        service.create_container(container).upload_blob("i/bomb", bomb)
    tracemalloc.reset_peak()
    try:
        plugin.decode(READ, f"blob:v1:{container}:i/bomb", instance_id="i")
    except PayloadTooLargeError:
        return
    raise AssertionError("it was inflated")


def peak(work: Callable[[], object]) -> float:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1] / SIZE
    finally:
        tracemalloc.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
