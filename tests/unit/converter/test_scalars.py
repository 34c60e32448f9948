"""Numbers, text, and what travels as one of them."""

from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, Flag, IntEnum, StrEnum
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, NewType
from uuid import UUID

import pytest

from durableflow.errors import ConversionError


class Color(Enum):
    RED = "red"
    BLUE = "blue"


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class Unit(StrEnum):
    METRE = "m"


class Point(Enum):
    ORIGIN = (0, 0)
    CORNER = (1, 1)


class Access(Flag):
    READ = 1
    WRITE = 2


class Lenient(Enum):
    OTHER = "other"

    @classmethod
    def _missing_(cls, value: object) -> "Lenient":
        return cls.OTHER


class Sku(str):
    __slots__ = ()


Email = NewType("Email", str)

EXAMPLES = [
    (True, bool, "true"),
    (0, int, "0"),
    (10**400, int, "1" + "0" * 400),
    (1.5, float, "1.5"),
    (2, float, "2.0"),
    ("", str, '""'),
    ("Grüße", str, '"Grüße"'),
    (Email("a@b"), Email, '"a@b"'),
    (3, Annotated[int, "metres"], "3"),
    (datetime(2024, 5, 1, 12, 30, 1, 5, UTC), datetime, '"2024-05-01T12:30:01.000005+00:00"'),
    (datetime(2024, 5, 1, 12, 30), datetime, '"2024-05-01T12:30:00"'),  # noqa: DTZ001 # naive ones travel too
    (date(2024, 5, 1), date, '"2024-05-01"'),
    (time(12, 30, tzinfo=timezone(timedelta(hours=2))), time, '"12:30:00+02:00"'),
    (timedelta(minutes=1, seconds=30), timedelta, "90"),
    (timedelta(milliseconds=-1), timedelta, "-0.001"),
    (Decimal("1.10"), Decimal, '"1.10"'),
    (UUID(int=5), UUID, '"00000000-0000-0000-0000-000000000005"'),
    (b"\x00\xff", bytes, '"AP8="'),
    (bytearray(b"ab"), bytearray, '"YWI="'),
    (Path("a/b"), Path, '"a/b"'),
    (PurePosixPath("a/b"), PurePosixPath, '"a/b"'),
    (Sku("x-1"), Sku, '"x-1"'),
    (Color.RED, Color, '"red"'),
    (Level.HIGH, Level, "2"),
    (Unit.METRE, Unit, '"m"'),
    (Point.CORNER, Point, "[1,1]"),
    (Access.READ | Access.WRITE, Access, "3"),
    ("big", Literal["big", 3], '"big"'),
    (Color.BLUE, Literal[Color.RED, Color.BLUE], '"blue"'),
]


@pytest.mark.parametrize(("value", "declared", "text"), EXAMPLES)
def test_a_scalar_arrives_as_it_was_sent(write, read, value, declared, text):
    written = write(value, declared)

    assert written == text
    arrived = read(written, declared)
    assert arrived == value
    assert type(arrived) is (float if declared is float else type(value))


@pytest.mark.parametrize(("value", "declared", "text"), EXAMPLES)
def test_a_scalar_is_written_alike_without_a_declared_type(write, value, declared, text):
    assert write(value) == (text if declared is not float else str(value))


def test_none_is_an_absent_payload(write, read):
    assert write(None, int) is None
    assert read(None, int) is None
    assert read("", int) is None


@pytest.mark.parametrize("value", [0, "", False, []])
def test_falsy_values_are_values(write, read, value):
    assert read(write(value)) == value


@pytest.mark.parametrize(
    ("text", "declared"),
    [
        ('"false"', bool),
        ("0", bool),
        ('"1"', int),
        ("true", int),
        ("1.0", int),
        ("true", float),
        ('"1.5"', float),
        ("1", str),
        ("null", str),
        ('"tomorrow"', datetime),
        ('"2024-05-01T12:30:00"', date),
        ("5", datetime),
        ("true", timedelta),
        ("1e300", timedelta),
        ('"abc"', Decimal),
        ('"NaN"', Decimal),
        ('"5"', UUID),
        ('"no base64!"', bytes),
        ('"green"', Color),
        ("true", Level),
        ("3", Level),
        ('"small"', Literal["big"]),
        ("true", Literal[1]),
        ("1", None),
    ],
)
def test_json_of_another_type_is_refused(read, text, declared):
    with pytest.raises(ConversionError, match="expected"):
        read(text, declared)


@pytest.mark.parametrize(
    ("value", "declared"),
    [
        (True, int),
        (1, bool),
        (1.0, int),
        (True, float),
        ("1", int),
        (1, str),
        (b"a", str),
        ("a", bytes),
        (datetime(2024, 5, 1, tzinfo=UTC), date),
        (date(2024, 5, 1), datetime),
        ("2024-05-01", date),
        ("red", Color),
        ("m", Unit),
        (1, Level),
        (True, Literal[1]),
        ("small", Literal["big"]),
        ([], Literal["big"]),
    ],
)
def test_a_value_of_another_type_is_refused_where_it_is_written(write, value, declared):
    with pytest.raises(ConversionError, match="expected"):
        write(value, declared)


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), -float("inf"), Decimal("NaN"), [1.0, float("nan")]]
)
def test_what_is_no_number_is_not_written(write, value):
    with pytest.raises(ConversionError, match="no NaN and no infinity"):
        write(value)


@pytest.mark.parametrize("text", ["NaN", "Infinity", "[-Infinity]", "1e999", '{"a": [1e999]}'])
@pytest.mark.parametrize("declared", [Any, float, list[float], dict[str, Any]])
def test_what_is_no_number_is_not_read(read, text, declared):
    with pytest.raises(ConversionError):
        read(text, declared)


def test_an_int_too_large_for_a_float_is_refused(read, write):
    with pytest.raises(ConversionError, match="expected float"):
        read("1" + "0" * 400, float)
    with pytest.raises(ConversionError, match="this float cannot travel"):
        write(10**400, float)


def test_an_int_with_more_digits_than_python_prints_is_refused(read, write):
    with pytest.raises(ConversionError, match="JSON cannot carry it"):
        write(10**5000)
    with pytest.raises(ConversionError, match="JSON cannot carry it"):
        read("1" * 5000)


def test_a_duration_that_would_lose_its_microseconds_is_refused(write, travel):
    assert travel(timedelta.max - timedelta(microseconds=999_999), timedelta)
    with pytest.raises(ConversionError, match="too long to keep its microseconds"):
        write(timedelta(days=999_999, microseconds=1), timedelta)


def test_numbers_of_other_senders_become_decimals(read):
    assert read("12.5", Decimal) == Decimal("12.5")
    assert read("12", Decimal) == Decimal(12)


def test_times_of_other_senders_are_understood(read):
    assert read('"2024-05-01T12:30:00.1234567Z"', datetime) == datetime(
        2024, 5, 1, 12, 30, 0, 123456, UTC
    )


def test_an_enum_may_find_unknown_values_itself(read):
    assert read('"whatever"', Lenient) is Lenient.OTHER


def test_text_that_utf8_cannot_carry_is_escaped(travel, write):
    written = write("\ud800ü")

    assert written == '"\\ud800\\u00fc"'
    assert travel("\ud800ü", str) == "\ud800ü"


@pytest.mark.parametrize("declared", [int, Any])
@pytest.mark.parametrize("text", ["7", " 7", "7\n", "\t7 \r\n"])
def test_white_space_around_a_value_means_nothing(converter, text, declared):
    assert converter.loads(text, declared, where="here") == 7
