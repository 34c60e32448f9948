"""Task-hub addresses: what they mean, what people see, what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from durableflow.errors import TaskHubAddressError
from durableflow.hub.address import TaskHubAddress, parse_task_hub_address, unknown_scheme

ROOT = Path("/srv/app")


def parse(text: str) -> TaskHubAddress:
    return parse_task_hub_address(text, root=ROOT)


def refusal(text: str) -> str:
    with pytest.raises(TaskHubAddressError) as caught:
        parse(text)
    return str(caught.value)


def test_a_relative_file_belongs_to_the_root_and_is_shown_absolute():
    address = parse("sqlite:///data/orders.db")

    assert address.scheme == "sqlite"
    assert address.path == ROOT / "data" / "orders.db"
    assert address.text == "sqlite:////srv/app/data/orders.db"


def test_an_absolute_file_stands_alone():
    assert parse("sqlite:////var/orders.db").path == Path("/var/orders.db")


def test_what_people_see_means_the_same_file():
    shown = parse("sqlite:///orders.db").text

    assert parse_task_hub_address(shown, root=Path("/elsewhere")) == parse("sqlite:///orders.db")


def test_two_slashes_alone_are_in_memory():
    assert parse("sqlite://") == TaskHubAddress(scheme="sqlite", text="sqlite://")


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("grpc://localhost:4001", "localhost:4001"),
        ("grpc://127.0.0.1:4001/", "127.0.0.1:4001"),
        ("grpcs://[::1]:443", "[::1]:443"),
        (" GRPC://hub-1.example.com:1 ", "hub-1.example.com:1"),
    ],
)
def test_a_host_and_port_are_the_target(text, target):
    address = parse(text)

    assert address.target == target
    assert address.text == f"{address.scheme}://{target}"
    assert address.scheme in ("grpc", "grpcs")


def test_a_connection_string_is_parsed_and_its_secrets_are_not_shown():
    address = parse(
        "Endpoint=https://hub.durabletask.io;Authentication=Key;TaskHub=orders;AccessKey=s3cret=="
    )

    assert address.scheme == "dts"
    assert address.target == "hub.durabletask.io:443"
    assert address.options == {
        "authentication": "Key",
        "taskhub": "orders",
        "accesskey": "s3cret==",
    }
    assert address.text == "Endpoint=https://hub.durabletask.io;Authentication=Key;TaskHub=orders"
    assert "s3cret" not in repr(address)


def test_a_connection_string_may_name_a_port():
    assert parse("Endpoint=http://localhost:8080;TaskHub=default").target == "localhost:8080"


@pytest.mark.parametrize(
    ("text", "target", "secure"),
    [
        ("Endpoint=https://hub.durabletask.io", "hub.durabletask.io:443", True),
        ("endpoint = hub.durabletask.io", "hub.durabletask.io:443", True),
        ("ENDPOINT=HTTPS://hub:8443/", "hub:8443", True),
        ("Endpoint=http://localhost:8080", "localhost:8080", False),
        ("Endpoint=http://[::1]", "[::1]:80", False),
    ],
)
def test_an_endpoint_without_a_scheme_is_secure(text: str, target: str, secure: bool):
    address = parse(f"{text};TaskHub=t")

    assert (address.target, address.secure) == (target, secure)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("orders", "orders"),
        ("  orders  ", "orders"),
        ("'two words; one hub'", "two words; one hub"),
        ('"it\'s"', "it's"),
        ("'it''s'", "it's"),
        ('"say ""hi"""', 'say "hi"'),
        ("a=b==", "a=b=="),
        ("''", ""),
        ("", ""),
    ],
)
def test_values_of_a_connection_string_may_stand_between_quotes(written: str, meant: str):
    address = parse(f"TASKHUB={written};;Endpoint=https://hub;")

    assert address.options == {"taskhub": meant}
    assert parse(address.text) == address


def test_a_host_may_say_which_engine_it_is():
    address = parse("grpc://localhost:4001/?Engine=durabletask-go&versions=in-name")

    assert address.target == "localhost:4001"
    assert address.options == {"engine": "durabletask-go", "versions": "in-name"}
    assert address.text == "grpc://localhost:4001?engine=durabletask-go&versions=in-name"
    assert parse(address.text) == address


def test_schemes_of_plugins_pass_with_their_secrets_hidden():
    address = parse("postgres://user:s3cret@host/db?password=s3cret")

    assert address.scheme == "postgres"
    assert address.target == "user:s3cret@host/db?password=s3cret"
    assert address.text == "postgres://host/db"
    assert "s3cret" not in repr(address)


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("", "is empty"),
        ("orders.db", "Did you mean sqlite:///orders.db?"),
        ("localhost:4001", "Did you mean grpc://localhost:4001?"),
        ("sqlite://orders.db", "sqlite:///orders.db"),
        ("sqlite:///", "names no file"),
        ("sqlite:////", "names no file"),
        ("sqlite:///folder/", "names no file"),
        ("sqlite:///:memory:", "written sqlite://"),
        ("sqlite:///orders.db?mode=ro", "takes no options"),
        ("sqlite:///a\0b", "control character"),
        ("grpc://localhost", "grpc://localhost:4001"),
        ("grpc://", "grpc://host:port"),
        ("grpc://host:0", "between 1 and 65535"),
        ("grpc://host:65536", "between 1 and 65535"),
        ("grpc://host:port", "grpc://host:port"),
        ("grpc://host:4001/path", "grpc://host:port"),
        ("http://localhost:4001", "'grpc://host:port'"),
        ("https://localhost:4001", "'grpcs://host:port'"),
        ("Endpoint=", "has none"),
        ("Endpoint=localhost:port", "another form"),
        ("Endpoint=https://hub:0;TaskHub=t", "port"),
        ('Endpoint=https://hub;TaskHub="t', "Name=value"),
        ("Endpoint=https://hub;TaskHub='a'b", "between quotes"),
        ("grpc://host:4001?engine=", "engine= and versions="),
        ("grpc://host:4001?motor=go", "?engine=durabletask-go"),
        ("TaskHub=orders", "has none"),
        ("Endpoint=https://hub;TaskHub", "Name=value"),
        (":://", "no task-hub address"),
    ],
)
def test_a_mistake_is_told_what_to_write(text, advice):
    assert advice in refusal(text)


@pytest.mark.parametrize(
    "text",
    [
        "grpc://user:s3cret@host:1",
        "grpc://host:1?token=s3cret",
        "https://user:s3cret@host:1",
        "Endpoint=https://u:s3cret@hub;TaskHub=t",
        "Endpoint=ftp://hub;AccessKey=s3cret",
        "Endpoint=https://hub;s3cret",
    ],
)
def test_a_refusal_shows_no_secrets(text):
    assert "s3cret" not in refusal(text)


def test_what_is_no_text_is_refused():
    with pytest.raises(TaskHubAddressError, match="not PosixPath"):
        parse_task_hub_address(Path("/orders.db"), root=ROOT)


def test_an_unknown_scheme_is_told_the_known_ones():
    message = str(unknown_scheme(parse("sqllite:///orders.db"), ["sqlite", "grpc"]))

    assert "'sqllite:///orders.db'" in message
    assert "grpc://, sqlite://" in message


def test_a_scheduler_that_nobody_serves_is_called_by_its_name():
    message = str(unknown_scheme(parse("Endpoint=https://hub;TaskHub=t"), ["sqlite"]))

    assert "Durable Task Scheduler" in message


pieces = st.sampled_from(
    [
        "sqlite",
        "grpc",
        "grpcs",
        "https",
        "Endpoint",
        "TaskHub",
        "://",
        "/",
        ":",
        "=",
        ";",
        "@",
        "[",
        "]",
        "?",
        "..",
        "host",
        "4001",
        " ",
        "\0",
        "²",
    ]
)


@given(st.text() | st.lists(pieces).map("".join))
@example("grpc://host:²")
@example("Endpoint=https://host:99999999999999")
@example("sqlite:///\ud800")
def test_any_text_is_an_address_or_refused(text):
    try:
        address = parse(text)
    except TaskHubAddressError:
        return

    assert address.path is None or address.path.is_absolute()
    assert parse(address.text).scheme == address.scheme
