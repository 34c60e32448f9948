"""Names that nobody registered, and what was probably meant by them."""

from __future__ import annotations

import pytest

from durableflow.spelling import similar_names, why_mistaken

KNOWN = ["place_order", "place_orders", "refund"]


@pytest.mark.parametrize("name", ["Place_Order", "placeOrder", "place-order", "PLACE ORDER"])
def test_a_name_that_differs_in_case_and_separators_only_is_a_mistake(name: str) -> None:
    assert why_mistaken("activity", name, KNOWN, private_hub=None) == (
        f"This app has no activity '{name}', but it has 'place_order', which is probably meant. "
        "Correct the name."
    )


@pytest.mark.parametrize("name", ["refunds", "bill"])
def test_any_other_name_may_live_elsewhere(name: str) -> None:
    assert why_mistaken("activity", name, KNOWN, private_hub=None) is None


def test_where_nobody_else_can_serve_the_hub_every_unknown_name_is_a_mistake() -> None:
    assert why_mistaken("orchestrator", "bill", KNOWN, private_hub="sqlite://") == (
        "This app has no orchestrator 'bill', and nothing else can serve sqlite://. Register it "
        "with @app.orchestrator, or import the module that does."
    )


def test_what_was_probably_meant_is_named() -> None:
    reason = why_mistaken("activity", "refnd", KNOWN, private_hub="sqlite://")

    assert reason is not None
    assert "Did you mean 'refund'?" in reason


def test_similar_names_are_listed_the_most_similar_first() -> None:
    assert similar_names("PlaceOrders", KNOWN) == "'place_orders' or 'place_order'"


def test_nothing_is_said_where_nothing_is_similar() -> None:
    assert similar_names("bill", KNOWN) == ""
    assert similar_names("bill", []) == ""
