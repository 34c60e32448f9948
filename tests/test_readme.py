"""The README and the pages of the documentation, done word by word in an empty folder."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest
from sybil import Example, Sybil
from sybil.parsers.markdown import CodeBlockParser

from durableflow.settings import SettingArguments, Settings

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


class Reader:
    """Somebody who types what a page says, into files and into a shell."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.printed = ""
        self.background: list[subprocess.Popen[str]] = []

    def python(self, example: Example) -> None:
        first_line = example.parsed.partition("\n")[0]
        if first_line.startswith("# ") and first_line.endswith(".py"):
            (self.folder / first_line.removeprefix("# ")).write_text(example.parsed)
            self.printed = ""
        else:
            self.printed = self.run([sys.executable, "-c", example.parsed])

    def console(self, example: Example) -> None:
        lines = example.parsed.splitlines()
        if any(line.startswith("$ ") for line in lines):
            self.printed = ""
        for line in lines:
            if line.startswith("$ "):
                self.command(line.removeprefix("$ "))
        expected = "\n".join(line for line in lines if not line.startswith("$ "))
        assert self.printed.strip() == expected.strip()

    def command(self, line: str) -> None:
        line, _, target = line.partition(" > ")
        words = shlex.split(line.removesuffix("&"))
        if words[0] in {"pip", "make", ".venv/bin/python"}:
            return  # what a page says about this repository, not about the reader's folder
        if words[0] == "kill":
            self.background[-1].kill()
            return
        words[0] = sys.executable if words[0] == "python" else words[0]
        if line.endswith("&") or words[1:4] == ["-m", "durableflow", "run"]:
            self.background.append(self.start(words))
        elif target:
            (self.folder / target).write_text(self.run(words))
        else:
            self.printed += self.run(words)

    def start(self, words: list[str]) -> subprocess.Popen[str]:
        return subprocess.Popen(
            words, cwd=self.folder, env=environment(), text=True, stdout=subprocess.DEVNULL
        )

    def run(self, words: list[str]) -> str:
        done = subprocess.run(
            words,
            cwd=self.folder,
            env=environment(),
            text=True,
            stdout=subprocess.PIPE,
            timeout=50,
            check=True,
        )
        return done.stdout

    def leave(self) -> None:
        for process in self.background:
            process.kill()
            process.wait()


def environment() -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("DURABLEFLOW_")}
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    reader = Reader(tmp_path)
    yield reader
    reader.leave()


@pytest.mark.e2e
@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_a_page_does_what_it_says(document: Path, reader: Reader) -> None:
    sybil = Sybil(
        parsers=[
            CodeBlockParser(language="python", evaluator=reader.python),
            CodeBlockParser(language="console", evaluator=reader.console),
        ]
    )

    for example in sybil.parse(document):
        example.evaluate()


def test_every_setting_is_documented_with_its_default() -> None:
    page = (ROOT / "docs" / "operations.md").read_text()

    for field in attrs.fields(Settings):
        if field.name in SettingArguments.__annotations__ and field.name != "task_hub":
            assert f"\n| `{field.name}` | {default_of(field)}" in page


def default_of(field: attrs.Attribute[object]) -> str:
    """Return the cell for a setting's default; one that is found out is told in words."""
    if isinstance(field.default, attrs.Factory):
        return ""
    return "none |" if field.default is None else f"`{field.default}` |"
