"""What is read from a function's signature, and which signatures are refused."""

from __future__ import annotations

import functools
import sys
from collections.abc import Coroutine, Generator, Iterator
from typing import Annotated, Any, Optional

import attrs
import pytest

from durableflow.errors import RegistrationError
from durableflow.registry import ABSENT, Registry


class OrchestrationContext:
    """Stands in for the real one, which lives on a higher floor: the name is what counts."""


class ActivityContext:
    """As above."""


@attrs.frozen
class Order:
    cost: float


def orchestrator(function, **options):
    return Registry().add_orchestrator(function, **options)


def activity(function, **options):
    return Registry().add_activity(function, **options)


def refusal(add, function, **options) -> str:
    with pytest.raises(RegistrationError) as caught:
        add(function, **options)
    return str(caught.value)


# ---- orchestrators


def test_a_generator_has_the_output_type_of_its_annotation():
    def order(ctx: OrchestrationContext, order: Order) -> Generator[Any, Any, list[Order]]:
        yield

    definition = orchestrator(order)

    assert definition.kind == "generator"
    assert definition.output_type == list[Order]
    assert definition.input.type is Order
    assert definition.input.annotated


def test_a_coroutine_has_the_output_type_that_it_returns():
    async def order(ctx: OrchestrationContext) -> Order: ...

    definition = orchestrator(order)

    assert (definition.kind, definition.output_type, definition.input) == ("coroutine", Order, None)


def test_a_plain_function_is_an_orchestrator_too():
    def order(ctx, n: int) -> int:
        return n

    definition = orchestrator(order)

    assert (definition.kind, definition.output_type) == ("plain", int)


def test_a_function_that_hands_on_a_generator_is_one():
    def order(ctx) -> Generator[Any, Any, str]:
        return iter(())

    assert orchestrator(order).kind == "generator"
    assert orchestrator(order).output_type is str


def test_without_annotations_everything_is_any():
    def order(ctx, value):
        yield

    definition = orchestrator(order)

    assert definition.output_type is Any
    assert definition.input.type is Any
    assert not definition.input.annotated


def test_an_annotation_that_names_no_result_leaves_the_output_open():
    def order(ctx) -> Iterator[Any]:
        yield

    assert orchestrator(order).output_type is Any


def test_an_orchestrator_without_a_context_is_refused():
    def order(): ...

    assert "takes its context first" in refusal(orchestrator, order)


def test_a_context_annotated_with_any_is_accepted():
    # From Python 3.11 on, Any is a class.
    def order(ctx: Any, order: Order) -> str: ...
    def alone(ctx: Any) -> str: ...
    def charge(ctx: Any, order: Order) -> str: ...

    assert orchestrator(order).input.type is Order
    assert orchestrator(alone).input is None
    assert activity(charge).takes_context
    assert activity(charge).input.type is Order


def test_an_orchestrator_whose_context_comes_second_is_refused():
    def order(order: Order, ctx: OrchestrationContext): ...

    assert "Put `ctx: OrchestrationContext` first" in refusal(orchestrator, order)


def test_the_context_of_the_other_kind_is_refused():
    def one(ctx: ActivityContext): ...
    def two(ctx: OrchestrationContext, n: int): ...
    def three(ctx: OrchestrationContext): ...

    assert "an orchestrator receives an OrchestrationContext" in refusal(orchestrator, one)
    assert "an activity receives an ActivityContext" in refusal(activity, two)
    assert "an activity receives an ActivityContext" in refusal(activity, three)


def test_an_async_generator_is_refused_with_the_way_out():
    async def order(ctx):
        yield

    assert "write `await` where it yields" in refusal(orchestrator, order)
    assert "return a list" in refusal(activity, order)


# ---- activities


def test_an_activity_takes_context_and_input():
    def charge(ctx: ActivityContext, order: Order) -> str: ...

    definition = activity(charge)

    assert definition.takes_context
    assert definition.input.type is Order
    assert definition.output_type is str
    assert not definition.is_async


def test_a_lone_parameter_is_the_context_if_it_says_so_or_says_nothing():
    def one(ctx: ActivityContext): ...
    def two(anything): ...

    for function in (one, two):
        assert activity(function).takes_context
        assert activity(function).input is None


def test_a_lone_parameter_of_another_type_is_the_input():
    def square(n: int) -> int: ...

    definition = activity(square)

    assert not definition.takes_context
    assert definition.input.type is int


def test_an_activity_may_take_nothing():
    async def ping() -> None: ...

    definition = activity(ping)

    assert (definition.takes_context, definition.input, definition.is_async) == (False, None, True)
    assert definition.output_type is type(None)


def test_a_function_that_hands_on_a_coroutine_is_async():
    def fetch(url: str) -> Coroutine[Any, Any, bytes]: ...

    assert activity(fetch).is_async
    assert activity(fetch).output_type is bytes


def test_several_inputs_are_refused():
    def charge(ctx: ActivityContext, amount: int, currency: str): ...
    def add(a: int, b: int): ...

    assert "Group them in an attrs class" in refusal(activity, charge)
    assert "'amount', 'currency'" in refusal(activity, charge)
    assert "group them in an attrs class" in refusal(activity, add)


def test_further_parameters_with_defaults_are_left_to_them():
    def charge(ctx, amount: int, currency: str = "EUR", *, dry: bool = False, **more): ...

    assert activity(charge).input.type is int


def test_a_required_keyword_is_refused():
    def charge(ctx, *, amount: int): ...

    assert "requires 'amount' by keyword" in refusal(activity, charge)


def test_hidden_parameters_are_refused_with_the_usual_cause():
    def careless(function):
        def wrapper(*args):
            return function(*args)

        return wrapper

    @careless
    def charge(ctx, amount: int): ...

    assert "functools.wraps" in refusal(activity, charge)


def test_a_wrapper_that_names_what_it_wraps_is_read_through():
    def careful(function):
        @functools.wraps(function)
        def wrapper(*args):
            return function(*args)

        return wrapper

    @careful
    def charge(ctx: ActivityContext, amount: int) -> str: ...

    definition = activity(charge)

    assert definition.input.type is int
    assert definition.name == "charge"


def test_an_activity_that_yields_is_refused():
    def charge(ctx):
        yield

    assert "use @app.orchestrator" in refusal(activity, charge)


def test_a_bound_method_is_read_without_its_self():
    class Shop:
        def charge(self, ctx: ActivityContext, order: Order) -> int: ...

    definition = activity(Shop().charge)

    assert definition.input.type is Order
    assert definition.output_type is int


def test_a_method_without_its_object_is_refused():
    class Shop:
        def charge(self, order): ...

    assert "app.add_activity(instance.method)" in refusal(activity, Shop.charge)


# ---- what is no function


@pytest.mark.parametrize(
    ("value", "advice"),
    [
        ("1.0", "@app.orchestrator(version='1.0')"),
        (Order, "'Order' is a class"),
        (staticmethod(len), "put @staticmethod above"),
        (functools.partial(len), "not partial"),
        (None, "not NoneType"),
        (len, "not builtin_function_or_method"),
    ],
)
def test_what_is_no_function_is_refused_with_what_to_write(value, advice):
    assert advice in refusal(orchestrator, value)


def test_the_result_of_a_call_is_refused():
    def order(ctx):
        yield

    assert "without calling it" in refusal(orchestrator, order(None))


# ---- absent inputs


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (int, ABSENT),
        (list[int], ABSENT),
        (Any, None),
        (None, None),
        (int | None, None),
        (Optional[int], None),  # noqa: UP045  # written in the old way as well
        (Annotated[int | None, "why"], None),
        (Annotated[int, "why"], ABSENT),
    ],
)
def test_an_absent_input_is_none_where_none_fits(annotation, expected):
    def charge(ctx, value): ...

    charge.__annotations__ = {"value": annotation}

    assert activity(charge).input.when_absent() is expected


def test_an_absent_input_is_the_default_if_there_is_one():
    def charge(ctx, n: int = 3): ...
    def refund(ctx, n=None): ...

    assert activity(charge).input.when_absent() == 3
    assert activity(refund).input.when_absent() is None


def test_an_absent_input_is_none_without_an_annotation():
    def charge(ctx, n): ...

    assert activity(charge).input.when_absent() is None


# ---- annotations as text


def test_a_class_of_the_enclosing_function_is_found():
    @attrs.frozen
    class Local:
        x: int

    def charge(ctx: ActivityContext, value: Local) -> Local: ...

    assert activity(charge).input.type is Local
    assert activity(charge).output_type is Local


def test_a_class_that_the_function_itself_uses_is_found_after_its_scope_is_gone():
    def make():
        @attrs.frozen
        class Local:
            x: int

        def charge(ctx: ActivityContext, value: Local) -> int:
            return Local(value.x).x

        return charge

    assert activity(make()).input.type.__name__ == "Local"


def test_a_name_that_its_scope_has_not_assigned_yet_does_no_harm():
    @orchestrator
    def again(ctx: OrchestrationContext, n: int) -> int:
        return again(ctx, n - 1)

    assert again.input.type is int


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the syntax is newer")
def test_a_type_parameter_of_the_function_is_found():
    namespace = {}
    exec("def charge[T](ctx, value: 'list[T]') -> 'T': ...", namespace)
    definition = activity(namespace["charge"])

    assert definition.output_type is namespace["charge"].__type_params__[0]


def test_a_class_defined_further_down_is_found_at_the_start():
    def charge(ctx, value: DefinedLater) -> DefinedLater: ...  # noqa: F821  # not yet

    registry = Registry()
    definition = registry.add_activity(charge)
    globals()["DefinedLater"] = Order
    try:
        registry.freeze()
    finally:
        del globals()["DefinedLater"]

    assert definition.input.type is Order


def test_names_that_never_exist_are_all_reported_at_the_start():
    def charge(ctx: ActivityContext, value: Missing): ...  # noqa: F821
    def order(ctx: OrchestrationContext) -> Unknown: ...  # noqa: F821

    registry = Registry()
    registry.add_activity(charge)
    registry.add_orchestrator(order)

    with pytest.raises(RegistrationError) as caught:
        registry.freeze()

    assert "`Missing` of parameter 'value'" in str(caught.value)
    assert "`Unknown` of the result" in str(caught.value)
    assert "outside `if TYPE_CHECKING:`" in str(caught.value)


def test_the_annotation_of_the_context_need_not_exist():
    def charge(ctx: elsewhere.ActivityContext): ...  # noqa: F821
    def refund(ctx: "elsewhere.ActivityContext"): ...  # noqa: F821, UP037 # quoted twice over
    def order(ctx: alias, n: int): ...  # noqa: F821
    def quoted(ctx: "elsewhere.OrchestrationContext", n: int): ...  # noqa: F821, UP037

    registry = Registry()
    definitions = [registry.add_activity(charge), registry.add_activity(refund)]
    registry.add_orchestrator(order)
    registry.add_orchestrator(quoted)
    registry.freeze()

    assert all(definition.takes_context for definition in definitions)
