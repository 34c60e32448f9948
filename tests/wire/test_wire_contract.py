"""Holds our messages and the table of calls against the facts of the Durable Task protocol."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
)

from durableflow._proto import task_hub_pb2
from durableflow.hub.port import TaskHub
from durableflow.protocol.service import BY_METHOD, RPCS, SERVICE

PACKAGE = ".durableflow.wire."


class Fact(NamedTuple):
    """One line of the contract."""

    kind: str
    owner: str
    name: str = ""
    number: str = ""
    type: str = ""
    label: str = ""
    oneof: str = ""
    ref: str = ""


def contract(*kinds: str) -> set[Fact]:
    text = (Path(__file__).parent / "wire_contract.tsv").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    rows = csv.DictReader(lines, delimiter="\t", restval="")
    return {Fact(**row) for row in rows if row["kind"] in kinds}


def facts_of_messages() -> Iterator[Fact]:
    file = FileDescriptorProto()
    task_hub_pb2.DESCRIPTOR.CopyToProto(file)
    for message in file.message_type:
        yield Fact("message", message.name)
        for field in message.field:
            yield fact_of_field(message, field)
    for enum in file.enum_type:
        yield Fact("enum", enum.name)
        yield from facts_of_values(enum)


def facts_of_values(enum: EnumDescriptorProto) -> Iterator[Fact]:
    for value in enum.value:
        yield Fact("enum_value", enum.name, value.name, str(value.number))


def fact_of_field(message: DescriptorProto, field: FieldDescriptorProto) -> Fact:
    entries = {nested.name: nested for nested in message.nested_type if nested.options.map_entry}
    entry = entries.get(field.type_name.rpartition(".")[2])
    kind, ref = type_of(field), short(field.type_name)
    if entry is not None:
        key, value = entry.field
        kind, ref, label = f"map<{type_of(key)},{type_of(value)}>", short(value.type_name), "map"
    elif field.label == FieldDescriptorProto.LABEL_REPEATED:
        label = "repeated"
    else:
        label = "optional" if kind == "message" or field.proto3_optional else "singular"
    oneof = message.oneof_decl[field.oneof_index].name if field.HasField("oneof_index") else ""
    return Fact("field", message.name, field.name, str(field.number), kind, label, oneof, ref)


def type_of(field: FieldDescriptorProto) -> str:
    return FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()


def short(type_name: str) -> str:
    return type_name.removeprefix(PACKAGE).removeprefix(".")


def test_messages_and_enums_are_those_of_the_protocol():
    assert set(facts_of_messages()) == contract("message", "field", "enum", "enum_value")


def test_the_table_of_calls_is_that_of_the_protocol():
    table = {
        Fact(
            kind="rpc",
            owner=SERVICE,
            name=rpc.name,
            type=short("." + rpc.request.DESCRIPTOR.full_name),
            label=rpc.kind.value,
            ref=short("." + rpc.reply.DESCRIPTOR.full_name),
        )
        for rpc in RPCS
    }

    assert table == contract("rpc")
    assert len(table) == len(RPCS), "a call stands in the table twice"


def test_the_service_is_named_without_a_package():
    (service,) = contract("service")

    assert service.ref == SERVICE
    assert all(rpc.path == f"/{service.ref}/{rpc.name}" for rpc in RPCS)


def test_every_call_of_the_port_stands_in_the_table():
    beside_the_calls = {"description", "open", "close"}
    methods = {name for name in vars(TaskHub) if not name.startswith("_")} - beside_the_calls

    assert methods == set(BY_METHOD)


@pytest.mark.parametrize("method", sorted(BY_METHOD))
def test_the_table_gives_a_call_of_the_port_its_messages(method: str):
    rpc = BY_METHOD[method]
    annotations = getattr(TaskHub, method).__annotations__

    assert annotations.get("request", "Empty").removeprefix("pb.") == rpc.request.__name__
    assert ("metadata" in annotations) == rpc.takes_metadata
