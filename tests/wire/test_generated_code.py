"""The committed code in durableflow/_proto is what the files in protos/ give."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

ROOT = Path(__file__).parents[2]
PROTOS = sorted((ROOT / "protos").glob("*.proto"))


def test_each_proto_file_has_its_module_and_each_module_its_proto_file():
    modules = {path.name for path in (ROOT / "durableflow" / "_proto").glob("*_pb2.py*")}

    assert modules == {f"{p.stem}_pb2{suffix}" for p in PROTOS for suffix in (".py", ".pyi")}


@pytest.mark.parametrize("proto", PROTOS, ids=lambda proto: proto.stem)
def test_the_module_describes_the_proto_file(proto: Path, tmp_path: Path):
    out = tmp_path / "descriptors"
    mapping = f"-Idurableflow/_proto={proto.parent}"
    command = [sys.executable, "-m", "grpc_tools.protoc", mapping, f"--descriptor_set_out={out}"]
    subprocess.run([*command, str(proto)], check=True, cwd=ROOT)
    (compiled,) = FileDescriptorSet.FromString(out.read_bytes()).file
    committed = FileDescriptorProto()

    module = importlib.import_module(f"durableflow._proto.{proto.stem}_pb2")
    module.DESCRIPTOR.CopyToProto(committed)

    assert without_json_names(committed) == without_json_names(compiled)


def without_json_names(file: FileDescriptorProto) -> FileDescriptorProto:
    """Drop what one compiler writes out and another leaves to be derived."""
    for message in file.message_type:
        for part in (message, *message.nested_type):
            for field in part.field:
                field.ClearField("json_name")
    return file


@pytest.mark.packaging
@pytest.mark.timeout(300)
@pytest.mark.skipif(sys.version_info >= (3, 13), reason="the pinned compiler has no wheel for it")
def test_make_proto_writes_exactly_the_committed_files(tmp_path: Path):
    (tmp_path / "durableflow" / "_proto").mkdir(parents=True)

    subprocess.run(["make", "proto", f"OUT={tmp_path}"], check=True, cwd=ROOT, capture_output=True)

    written = {path.name: path.read_text() for path in tmp_path.rglob("*_pb2.py*")}
    committed = {name: (ROOT / "durableflow" / "_proto" / name).read_text() for name in written}
    assert written == committed
