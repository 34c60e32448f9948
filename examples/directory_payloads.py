"""A plugin in one file: large payloads are kept in a folder, and references travel in their place.

The folder could as well be a share that all workers and clients see.  Run it with
``python examples/directory_payloads.py``.
"""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

import attrs

from durableflow import (
    ActivityContext,
    App,
    Orchestration,
    OrchestrationContext,
    PayloadField,
    PayloadLostError,
    PayloadUnavailableError,
    hookimpl,
)

# Payloads are JSON, and no JSON begins with this.
MARK = "file:"


@attrs.frozen
class DirectoryPayloads:
    """Keeps payloads of ``threshold`` characters and more in a folder, each under its hash."""

    folder: Path = attrs.field(converter=Path)
    threshold: int = 1000

    @hookimpl
    def register_payload_codecs(self) -> list[DirectoryPayloads]:
        return [self]

    def encodes(self, field: PayloadField, text: str) -> bool:
        # Other SDKs may send what is not JSON.  If it looks like a reference, it is stored as well.
        return len(text) >= self.threshold or text.startswith(MARK)

    def encode(self, field: PayloadField, text: str, *, instance_id: str) -> str:
        content = text.encode()
        name = hashlib.sha256(content).hexdigest()
        path = self.folder / name
        try:
            if not path.exists():
                # Whoever reads meets all of it or nothing.
                with tempfile.NamedTemporaryFile(dir=self.folder, delete=False) as file:
                    file.write(content)
                Path(file.name).replace(path)
        except OSError as error:
            raise PayloadUnavailableError(f"{self.folder} cannot be written: {error}") from error
        return MARK + name

    def decodes(self, field: PayloadField, text: str) -> bool:
        return text.startswith(MARK)

    def decode(self, field: PayloadField, text: str, *, instance_id: str) -> str:
        name = Path(text.removeprefix(MARK)).name
        try:
            content = (self.folder / name).read_bytes()
        except FileNotFoundError:
            raise PayloadLostError(f"The {field.what} is gone: {text}", reference=text) from None
        except OSError as error:
            raise PayloadUnavailableError(f"{text} cannot be read: {error}") from error
        if hashlib.sha256(content).hexdigest() != name:
            raise PayloadLostError(f"The {field.what} is damaged: {text}", reference=text)
        return content.decode()


def make_app(folder: Path) -> App:
    app = App("directory", plugins=[DirectoryPayloads(folder)])

    @app.activity
    def write(ctx: ActivityContext, pages: int) -> str:
        return "Once upon a time … " * 100 * pages

    @app.activity
    def count(ctx: ActivityContext, book: str) -> int:
        return len(book.split())

    @app.orchestrator
    def publish(ctx: OrchestrationContext, pages: int) -> Orchestration[int]:
        book = yield ctx.call_activity(write, input=pages)
        return (yield ctx.call_activity(count, input=book))

    return app


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        app = make_app(Path(folder))
        with app.running() as client:
            words = client.run_orchestration("publish", input=100, timeout=30)
            print(words, "words")

        for file in Path(folder).iterdir():
            print("One file of", file.stat().st_size, "bytes")

# Output:
# 50000 words
# One file of 210002 bytes
