"""What arrives where no type is declared."""

import copy
import pickle

import pytest

from durableflow.converter import Record


def test_an_undeclared_object_answers_as_attributes_at_every_depth(read):
    event = read('{"approver":"Me","order":{"lines":[{"price":5}]}}')

    assert event.approver == "Me"
    assert event.order.lines[0].price == 5
    assert event == {"approver": "Me", "order": {"lines": [{"price": 5}]}}


@pytest.mark.parametrize("declared", [dict, dict[str, object], list, object], ids=str)
def test_undeclared_parts_of_declared_types_are_records_too(read, declared):
    text = '[{"a":{"b":1}}]' if declared is list else '{"x":{"a":{"b":1}}}'

    arrived = read(text, declared)

    assert (arrived[0] if declared is list else arrived["x"]).a.b == 1


def test_the_marker_of_older_sdks_is_stripped(read):
    text = '{"__durabletask_autoobject__":true,"inner":{"__durabletask_autoobject__":true,"a":1}}'

    assert read(text) == {"inner": {"a": 1}}
    assert read(text).inner.a == 1
    assert read(text, dict[str, dict[str, int]]) == {"inner": {"a": 1}}


def test_a_record_is_written_as_the_object_it_was(read, write):
    text = '{"b":1,"a":{"c":[null]}}'

    assert write(read(text)) == text


def test_a_record_can_be_changed_by_attribute():
    record = Record(a=1, b=2)

    record.a = 3
    del record.b

    assert record == {"a": 3}
    assert "a" in dir(record)
    assert repr(record) == "Record({'a': 3})"


def test_a_missing_attribute_is_an_attribute_error():
    record = Record(a=1)

    with pytest.raises(AttributeError, match="no 'b'"):
        _ = record.b
    with pytest.raises(AttributeError, match="no 'b'"):
        del record.b
    assert not hasattr(record, "b")


def test_a_key_that_is_a_method_of_dict_needs_brackets():
    record = Record(items=[1])

    assert record["items"] == [1]
    with pytest.raises(AttributeError, match=r"write record\['items'\]"):
        record.items = [2]


def test_a_record_survives_copy_and_pickle():
    record = Record(a=Record(b=1))

    for twin in (copy.deepcopy(record), pickle.loads(pickle.dumps(record))):
        assert type(twin) is Record
        assert twin.a.b == 1
