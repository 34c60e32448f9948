"""Registering, looking up, registering twice, freezing."""

from __future__ import annotations

import importlib
import sys
import types

import pytest

from durableflow.errors import NotRegisteredError, RegistrationError
from durableflow.registry import Registry
from durableflow.retry import RetryPolicy


@pytest.fixture
def registry():
    return Registry()


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module of a test's own, written and imported; call it with the next text to reload."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    path = tmp_path / "shop_under_test.py"

    def write(text: str) -> types.ModuleType:
        path.write_text(text)
        importlib.invalidate_caches()
        if path.stem in sys.modules:
            return importlib.reload(sys.modules[path.stem])
        return importlib.import_module(path.stem)

    yield write
    sys.modules.pop(path.stem, None)


@pytest.fixture
def cell():
    """Run text as a notebook runs a cell."""
    notebook = types.ModuleType("notebook_under_test")
    sys.modules[notebook.__name__] = notebook

    def run(text: str) -> types.ModuleType:
        exec(compile(text, "<cell>", "exec"), notebook.__dict__)
        return notebook

    yield run
    del sys.modules[notebook.__name__]


def order(ctx, order):
    yield


def charge(ctx, amount):
    return amount


def refund(ctx, amount):
    return amount


def test_a_function_is_found_by_its_own_name(registry):
    definition = registry.add_orchestrator(order)

    assert registry.find_orchestrator("order", None) is definition
    assert (definition.name, definition.version, definition.function) == ("order", None, order)
    assert definition.source == f"{__file__}:{order.__code__.co_firstlineno}"


def test_a_function_is_found_by_a_given_name_only(registry):
    registry.add_activity(charge, name="pay")

    assert registry.find_activity("pay", None).function is charge
    assert registry.find_activity("charge", None) is None


def test_an_orchestrator_is_found_by_exactly_its_version(registry):
    registry.add_orchestrator(order, version="1.0.0")

    assert registry.find_orchestrator("order", "1.0.0") is not None
    assert registry.find_orchestrator("order", None) is None
    assert registry.find_orchestrator("order", "1.0.1") is None


def test_an_activity_without_a_version_stands_in_for_all(registry):
    plain = registry.add_activity(charge, name="charge")
    second = registry.add_activity(refund, name="charge", version="2.0")

    assert registry.find_activity("charge", "2.0") is second
    assert registry.find_activity("charge", "1.0") is plain
    assert registry.find_activity("charge", None) is plain


def test_versions_are_listed_from_the_oldest_on_with_the_open_one_first(registry):
    for version in ("10.0.0", None, "9.0.0"):
        registry.add_orchestrator(order, name="order", version=version)

    assert registry.orchestrator_versions("order") == (None, "9.0.0", "10.0.0")
    assert registry.orchestrator_versions("other") == ()


def test_definitions_are_listed_by_name_and_version(registry):
    registry.add_activity(refund)
    registry.add_activity(charge, version="10")
    registry.add_activity(charge, version="9")

    listed = [(definition.name, definition.version) for definition in registry.activities()]

    assert listed == [("charge", "9"), ("charge", "10"), ("refund", None)]


def test_an_activity_keeps_its_retry_policy(registry):
    policy = RetryPolicy(first_retry_interval=1, max_number_of_attempts=2)

    assert registry.add_activity(charge, retry_policy=policy).retry_policy is policy


def test_a_retry_policy_of_another_type_is_refused(registry):
    with pytest.raises(RegistrationError, match="takes a RetryPolicy, not int"):
        registry.add_activity(charge, retry_policy=3)


@pytest.mark.parametrize("name", ["", "  ", 3])
def test_a_name_that_is_no_text_is_refused(registry, name):
    with pytest.raises(RegistrationError, match="needs a name"):
        registry.add_activity(charge, name=name)


def test_a_lambda_needs_a_name(registry):
    with pytest.raises(RegistrationError, match="needs a name"):
        registry.add_activity(lambda ctx: 1)

    assert registry.add_activity(lambda ctx: 1, name="one").name == "one"


@pytest.mark.parametrize("version", ["", 1.0, 2, ("1",)])
def test_a_version_that_is_no_text_is_refused(registry, version):
    with pytest.raises(RegistrationError, match="Write it as text"):
        registry.add_orchestrator(order, version=version)


# ---- by function


def test_a_function_is_known_by_identity(registry):
    definition = registry.add_activity(charge)

    assert registry.activity_of(charge) is definition


def test_a_bound_method_is_known_by_its_object(registry):
    class Shop:
        def charge(self, ctx, amount): ...

    shop, other = Shop(), Shop()
    definition = registry.add_activity(shop.charge)

    assert registry.activity_of(shop.charge) is definition
    with pytest.raises(NotRegisteredError):
        registry.activity_of(other.charge)


def test_a_function_under_several_names_is_referred_to_by_the_first(registry):
    first = registry.add_activity(charge, name="new")
    registry.add_activity(charge, name="old")

    assert registry.activity_of(charge) is first


def test_a_function_that_is_not_registered_is_told_its_decorator(registry):
    with pytest.raises(NotRegisteredError) as caught:
        registry.activity_of(charge)

    assert "Decorate it with @app.activity" in str(caught.value)
    assert "app.add_activity(charge)" in str(caught.value)
    assert f"{__file__}:" in str(caught.value)


def test_a_function_of_the_other_kind_is_told_so(registry):
    registry.add_activity(charge)
    registry.add_orchestrator(order)

    with pytest.raises(NotRegisteredError, match="is registered as an activity"):
        registry.orchestrator_of(charge)
    with pytest.raises(NotRegisteredError, match="Call it as a sub-orchestrator"):
        registry.activity_of(order)


def test_a_twin_from_a_module_loaded_twice_is_recognised(registry, module):
    text = "def send(ctx): ...\n"
    registry.add_activity(module(text).send)
    namespace = {"__name__": "shop_under_test_again"}
    exec(text, namespace)

    with pytest.raises(NotRegisteredError, match="loaded twice"):
        registry.activity_of(namespace["send"])


@pytest.mark.parametrize("value", [3, [], {}, "name"])
def test_what_is_no_function_is_not_looked_up(registry, value):
    with pytest.raises(NotRegisteredError, match=f"not by {type(value).__name__}"):
        registry.activity_of(value)


# ---- registering twice


def test_two_functions_of_one_name_and_version_name_both_lines(registry):
    registry.add_activity(charge, name="pay")

    with pytest.raises(RegistrationError) as caught:
        registry.add_activity(refund, name="pay")

    assert "activity 'pay' is registered twice" in str(caught.value)
    for function in (charge, refund):
        assert f"{__file__}:{function.__code__.co_firstlineno}" in str(caught.value)


def test_an_orchestrator_and_an_activity_may_share_a_name(registry):
    registry.add_activity(charge, name="pay")
    registry.add_orchestrator(order, name="pay")

    assert registry.find_activity("pay", None).function is charge
    assert registry.find_orchestrator("pay", None).function is order


def test_the_same_release_written_in_two_ways_is_refused(registry):
    registry.add_orchestrator(order, version="1.0")

    with pytest.raises(RegistrationError, match=r"same release as version '1\.0'"):
        registry.add_orchestrator(order, version="1.0.0")


def test_the_second_of_two_in_one_file_is_refused(registry, module):
    shop = module("def make():\n def send(ctx): ...\n return send\n")
    registry.add_activity(shop.make())

    with pytest.raises(RegistrationError, match="twice"):
        registry.add_activity(shop.make())


def test_a_reloaded_module_replaces_its_functions(registry, module):
    old = module("def send(ctx): return 1\n").send
    registry.add_activity(old)

    new = module("\n\ndef send(ctx): return 2\n").send
    definition = registry.add_activity(new)

    assert registry.find_activity("send", None) is definition
    assert registry.activities() == (definition,)
    assert registry.activity_of(new) is definition
    assert registry.activity_of(old) is definition


def test_a_reload_does_not_replace_what_runs(registry, module):
    registry.add_activity(module("def send(ctx): return 1\n").send)
    registry.freeze()

    with pytest.raises(RegistrationError, match="while the app runs"):
        registry.add_activity(module("def send(ctx): return 2\n").send)


def test_a_notebook_replaces_even_what_runs(registry, cell):
    registry.add_activity(cell("def send(ctx): return 1\n").send)
    registry.freeze()

    definition = registry.add_activity(cell("def send(ctx): return 2\n").send)

    assert registry.find_activity("send", None) is definition


def test_a_notebook_does_not_replace_one_function_by_another(registry, cell):
    registry.add_activity(cell("def send(ctx): return 1\n").send, name="mail")

    with pytest.raises(RegistrationError, match="twice"):
        registry.add_activity(cell("def post(ctx): return 2\n").post, name="mail")


# ---- frozen and merged


def test_nothing_is_added_while_the_app_runs(registry):
    registry.freeze()

    with pytest.raises(RegistrationError, match="stop the app first"):
        registry.add_activity(charge)

    registry.thaw()
    assert registry.add_activity(charge).name == "charge"


def test_a_registry_stays_frozen_until_its_last_run_ends(registry):
    registry.freeze()
    registry.freeze()
    registry.thaw()

    with pytest.raises(RegistrationError, match="while the app runs"):
        registry.add_activity(charge)


def test_a_merge_brings_the_same_definitions_under_the_same_names(registry):
    blueprint = Registry()
    definitions = (blueprint.add_activity(charge), blueprint.add_orchestrator(order))

    registry.merge(blueprint)

    assert registry.activity_of(charge) is definitions[0]
    assert registry.orchestrator_of(order) is definitions[1]


def test_a_merge_that_collides_adds_nothing(registry):
    registry.add_activity(refund, name="charge")
    blueprint = Registry()
    blueprint.add_activity(charge)
    blueprint.add_orchestrator(order)

    with pytest.raises(RegistrationError, match="registered twice"):
        registry.merge(blueprint)

    assert registry.orchestrators() == ()
    assert [definition.function for definition in registry.activities()] == [refund]
