"""What was probably meant by a name that an app does not have.  Pure."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Final

from durableflow.signatures import Role

_MOST_NAMES: Final = 3
_LEAST_LIKENESS: Final = 0.75


def why_mistaken(
    role: Role, name: str, known: Iterable[str], *, private_hub: str | None
) -> str | None:
    """Say why a name can only be a mistake; None if it may stand for code that lives elsewhere.

    It is one where nobody but this app can serve the hub, and where it differs from one of the
    app's own names in nothing but case and separators.

    Args:
        name: Not among the known ones.
        known: The names that the app has for this role.
        private_hub: The hub that only this app can serve; None if others can.
    """
    known = sorted(set(known))
    if private_hub is not None:
        similar = similar_names(name, known)
        return (
            f"This app has no {role} '{name}', and nothing else can serve {private_hub}."
            f"{f' Did you mean {similar}?' if similar else ''} Register it "
            f"with @app.{role}, or import the module that does."
        )
    twin = next((other for other in known if _bare(other) == _bare(name)), None)
    if twin is None:
        return None
    return (
        f"This app has no {role} '{name}', but it has '{twin}', which is probably meant. "
        "Correct the name."
    )


def similar_names(name: str, known: Iterable[str]) -> str:
    """List the names like this one, the most similar first, for people; "" if there are none."""
    by_bare_name = {_bare(other): other for other in sorted(set(known), reverse=True)}
    matches = get_close_matches(_bare(name), by_bare_name, n=_MOST_NAMES, cutoff=_LEAST_LIKENESS)
    return " or ".join(f"'{by_bare_name[match]}'" for match in matches)


def _bare(name: str) -> str:
    return name.casefold().replace("_", "").replace("-", "").replace(" ", "")
