"""A plugin for a whole office: it brings an activity, a type of its own, and keeps a journal.

Run it with ``python examples/audit_plugin.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import cattrs

from durableflow import ActivityFinished, App, Orchestration, OrchestrationContext, hookimpl


class Money:
    """An amount that travels as text, such as ``12.50 EUR``."""

    def __init__(self, cents: int, currency: str) -> None:
        self.cents = cents
        self.currency = currency

    def __str__(self) -> str:
        return f"{self.cents // 100}.{self.cents % 100:02} {self.currency}"

    @classmethod
    def parse(cls, text: str, _: Any = None) -> Money:
        amount, currency = text.split()
        whole, _, cents = amount.partition(".")
        return cls(int(whole) * 100 + int(cents), currency)


@attrs.define(eq=False)
class Audit:
    """Writes down what happens; its fields are its settings."""

    office: str
    journal: list[str] = attrs.field(factory=list, init=False)

    @hookimpl
    def init_app(self, app: App) -> None:
        app.add_activity(self.sign)

    def sign(self, document: str) -> str:
        return f"{document}, signed in {self.office}"

    @hookimpl
    def configure_converter(self, converter: cattrs.Converter) -> None:
        converter.register_unstructure_hook(Money, str)
        converter.register_structure_hook(Money, Money.parse)

    @hookimpl
    def configure_channel(self, channel: Any) -> None:
        """Tell engines that others run who is calling."""
        channel.metadata.append(("x-office", self.office))

    @hookimpl
    def worker_started(self) -> None:
        self.journal.append("opened")

    @hookimpl
    def activity_finished(self, activity: ActivityFinished) -> None:
        self.journal.append(f"{activity.started.name} done")

    @hookimpl
    def instances_purged(self, instance_ids: Sequence[str]) -> None:
        self.journal.append(f"{', '.join(instance_ids)} purged")

    @hookimpl
    def worker_stopping(self) -> None:
        self.journal.append("closed")


audit = Audit(office="Ghent")
app = App("audit_plugin", plugins=[audit])


@app.activity
def add_tax(price: Money) -> Money:
    return Money(price.cents * 121 // 100, price.currency)


@app.orchestrator
def invoice(ctx: OrchestrationContext, price: Money) -> Orchestration[str]:
    total = yield ctx.call_activity(add_tax, input=price)
    return (yield ctx.call_activity(audit.sign, input=f"Invoice over {total}"))


if __name__ == "__main__":
    with app.running() as client:
        print(client.run_orchestration(invoice, input=Money(10_00, "EUR"), instance_id="invoice 7"))
        client.purge_orchestration("invoice 7")
    print(", ".join(audit.journal))

# Output:
# Invoice over 12.10 EUR, signed in Ghent
# opened, add_tax done, sign done, invoice 7 purged, closed
