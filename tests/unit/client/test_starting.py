from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from durableflow.client import ClientCore, OrchestrationIdReusePolicy, OrchestrationStatus
from durableflow.client.starting import Options, Start, plan_start
from durableflow.errors import ConversionError, NotRegisteredError, UsageError
from durableflow.hookspecs import hookimpl
from durableflow.plugins import PluginSet
from durableflow.registry import Registry
from durableflow.replay import OrchestrationContext


@dataclass
class Order:
    cost: float


def order(ctx: OrchestrationContext, order: Order) -> str:
    return f"{order.cost}"


def newer_order(ctx: OrchestrationContext, order: Order) -> str:
    return f"{order.cost}"


def nightly(ctx: OrchestrationContext) -> None: ...


def optional(ctx: OrchestrationContext, order: Order | None) -> None: ...


def defaulted(ctx: OrchestrationContext, count: int = 3) -> None: ...


def untyped(ctx: OrchestrationContext, order) -> None: ...  # type: ignore[no-untyped-def]


class Stamping:
    def __init__(self, version: str | None = None) -> None:
        self.version = version
        self.asked: list[Any] = []

    @hookimpl
    def resolve_start_version(
        self, name: str, requested: str | None, available: tuple[str | None, ...]
    ) -> str | None:
        self.asked.append((name, requested, available))
        return self.version


def start(core: ClientCore, orchestrator: Any, input: Any = None, **options: Any) -> Start:
    return plan_start(core, orchestrator, input, Options(**options))


def test_function_stands_for_its_name_and_version(core: ClientCore, registry: Registry) -> None:
    registry.add_orchestrator(order, name="buy", version="1.0.0")

    planned = start(core, order, Order(1))

    assert (planned.name, planned.version, planned.input) == ("buy", "1.0.0", '{"cost":1.0}')
    assert planned.output_type is str


def test_explicit_version_wins_over_the_functions_own(core: ClientCore, registry: Registry) -> None:
    registry.add_orchestrator(order, version="1.0.0")

    assert start(core, order, Order(1), version="3.0.0").version == "3.0.0"


def test_plugins_learn_what_was_requested_and_what_there_is(
    core: ClientCore, registry: Registry, plugins: PluginSet
) -> None:
    stamping = Stamping()
    plugins.register(stamping)
    registry.add_orchestrator(order)
    registry.add_orchestrator(newer_order, name="order", version="2.0.0")

    start(core, order, Order(1))
    start(core, newer_order, Order(1))
    start(core, order, Order(1), version="1")
    start(core, "order", Order(1))
    start(core, "elsewhere")

    both = (None, "2.0.0")
    assert stamping.asked == [
        ("order", "", both),
        ("order", "2.0.0", both),
        ("order", "1", both),
        ("order", None, both),
        ("elsewhere", None, ()),
    ]


def test_what_plugins_say_is_the_version(
    core: ClientCore, registry: Registry, plugins: PluginSet
) -> None:
    plugins.register(Stamping("7"))
    registry.add_orchestrator(order)

    assert start(core, order, Order(1)).version == "7"
    assert start(core, "elsewhere", version="1").version == "7"


def test_starts_by_name_get_the_default_version(core: ClientCore, registry: Registry) -> None:
    registry.add_orchestrator(order)
    registry.add_orchestrator(newer_order, name="order", version="2.0.0")
    core.default_version = "1.0.0"

    assert start(core, "order", Order(1)).version == "1.0.0"
    assert start(core, "elsewhere").version == "1.0.0"
    assert start(core, "order", Order(1), version="2.0.0").version == "2.0.0"
    assert start(core, "order", Order(1), version="").version is None
    assert start(core, order, Order(1)).version is None
    assert start(core, newer_order, Order(1)).version == "2.0.0"


def test_the_function_that_will_run_says_what_the_input_is(
    core: ClientCore, registry: Registry
) -> None:
    registry.add_orchestrator(order, version="1.0.0")
    registry.add_orchestrator(defaulted, name="order", version="2.0.0")

    assert start(core, order, 5, version="2.0.0").input == "5"


def test_name_of_code_that_lives_elsewhere_is_sent_as_it_is(core: ClientCore) -> None:
    planned = start(core, "elsewhere", {"cost": 1})

    assert (planned.name, planned.version, planned.input) == ("elsewhere", None, '{"cost":1}')
    assert planned.output_type is Any


def test_input_for_a_known_name_is_checked_as_for_its_function(
    core: ClientCore, registry: Registry
) -> None:
    registry.add_orchestrator(order, version="1.0.0")

    with pytest.raises(ConversionError, match="input of orchestrator 'order'"):
        start(core, "order", "no order", version="1.0.0")


def test_input_of_the_wrong_type_is_refused(core: ClientCore, registry: Registry) -> None:
    registry.add_orchestrator(order)

    with pytest.raises(ConversionError, match="input of orchestrator 'order'"):
        start(core, order, Order("much"))  # type: ignore[arg-type]


def test_input_for_a_function_without_one_is_refused(core: ClientCore, registry: Registry) -> None:
    registry.add_orchestrator(nightly)

    with pytest.raises(UsageError, match=r"'nightly' .* takes no input") as caught:
        start(core, nightly, "a secret")
    assert "a secret" not in str(caught.value)
    assert "str" in str(caught.value)
    assert start(core, nightly).input is None


def test_absent_input_is_refused_where_the_function_needs_one(
    core: ClientCore, registry: Registry
) -> None:
    registry.add_orchestrator(order)

    with pytest.raises(UsageError, match=r"needs an input of type Order\. Pass input="):
        start(core, order)


@pytest.mark.parametrize("function", [optional, defaulted, untyped])
def test_absent_input_is_accepted_where_the_function_can_do_without(
    core: ClientCore, registry: Registry, function: Any
) -> None:
    registry.add_orchestrator(function)

    assert start(core, function).input is None


def test_function_that_is_not_registered_names_the_decorator(core: ClientCore) -> None:
    with pytest.raises(NotRegisteredError, match="orchestrator"):
        start(core, order, Order(1))


def test_unknown_name_is_refused_where_nothing_else_can_serve_the_hub(
    core: ClientCore, registry: Registry
) -> None:
    registry.add_orchestrator(order)
    core.hub_is_private = True

    with pytest.raises(NotRegisteredError, match=r"no orchestrator 'ordr'.* Did you mean 'order'"):
        start(core, "ordr")


def test_version_that_nothing_can_run_is_refused_where_nothing_else_can_serve_the_hub(
    core: ClientCore, registry: Registry
) -> None:
    registry.add_orchestrator(order, version="1.0.0")
    core.hub_is_private = True

    with pytest.raises(NotRegisteredError, match=r"'1\.0\.0'"):
        start(core, "order", Order(1), version="9.9.9")


@pytest.mark.parametrize("name", ["Purchase_Order", "purchaseOrder", "purchase-order"])
def test_name_that_differs_in_case_and_separators_only_is_refused(
    core: ClientCore, registry: Registry, name: str
) -> None:
    registry.add_orchestrator(order, name="purchase_order")

    with pytest.raises(NotRegisteredError, match="it has 'purchase_order'"):
        start(core, name)


def test_similar_name_may_live_elsewhere_and_is_warned_about_once(
    core: ClientCore, registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    registry.add_orchestrator(order, name="order_1")

    names = [start(core, "order_2").name for _ in range(2)]

    assert names == ["order_2", "order_2"]
    assert [record.getMessage() for record in caplog.records] == [
        "This app has no orchestrator 'order_2'; its instances wait for a worker that has it. "
        "Was 'order_1' meant?"
    ]


def test_each_start_gets_an_id_of_its_own(core: ClientCore) -> None:
    first, second = start(core, "x"), start(core, "x")

    assert first.instance_id != second.instance_id
    assert first.id_is_ours
    assert not start(core, "x", instance_id="mine").id_is_ours


def test_request_carries_every_option(core: ClientCore) -> None:
    moment = datetime(2030, 1, 1, tzinfo=UTC)
    planned = start(
        core, "x", 1, instance_id="mine", version="2", start_at=moment, tags={"team": "blue"}
    )

    request = planned.to_request()

    assert (request.instanceId, request.name, request.version.value) == ("mine", "x", "2")
    assert request.input.value == "1"
    assert request.scheduledStartTimestamp.ToDatetime(UTC) == moment
    assert dict(request.tags) == {"team": "blue"}
    assert not request.HasField("orchestrationIdReusePolicy")


def test_absent_options_are_absent_on_the_wire(core: ClientCore) -> None:
    request = start(core, "x").to_request()

    for field in ("version", "input", "scheduledStartTimestamp", "orchestrationIdReusePolicy"):
        assert not request.HasField(field)


@pytest.mark.parametrize("falsy", [0, "", [], False])
def test_falsy_inputs_are_values(core: ClientCore, falsy: Any) -> None:
    assert start(core, "x", falsy).to_request().HasField("input")


@pytest.mark.parametrize(
    ("policy", "replaceable"),
    [
        (OrchestrationIdReusePolicy.FAIL, set()),
        (OrchestrationIdReusePolicy.USE_EXISTING, set()),
        (
            OrchestrationIdReusePolicy.REPLACE_TERMINAL,
            {status.value for status in OrchestrationStatus if status.is_terminal},
        ),
        (
            OrchestrationIdReusePolicy.TERMINATE_AND_REPLACE,
            {status.value for status in OrchestrationStatus},
        ),
    ],
)
def test_reuse_policies_name_the_statuses_that_may_be_replaced(
    core: ClientCore, policy: OrchestrationIdReusePolicy, replaceable: set[int]
) -> None:
    request = start(core, "x", reuse_id_policy=policy).to_request()

    assert set(request.orchestrationIdReusePolicy.replaceableStatus) == replaceable


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("instance_id", 7),
        ("version", 2.0),
        ("start_at", datetime(2030, 1, 1)),  # noqa: DTZ001
        ("start_at", 5),
        ("tags", {"team": 1}),
        ("tags", ["team"]),
        ("reuse_id_policy", "fail"),
    ],
)
def test_options_of_the_wrong_kind_are_refused_by_name(option: str, value: Any) -> None:
    with pytest.raises(UsageError, match=f"{option}=.*: give "):
        Options(**{option: value})
