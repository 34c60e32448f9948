"""Tokens for calls to an engine, fetched off the event loop and refreshed ahead of time."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import logging
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from attrs import frozen

from durableflow.errors import CallError, SetupError, TaskHubAddressError
from durableflow.hub.channel import AccessToken, TokenCredential
from durableflow.protocol.status import Status

logger = logging.getLogger(__name__)

T = TypeVar("T")

# A token is refreshed five to ten minutes before it ends, so that no call has to wait for one and
# processes that began together do not all ask at once; a short-lived one at half of its life.
EARLIEST_SECONDS: Final = 600.0
LATEST_SECONDS: Final = 300.0
# Too late to be sent: it must still be good when it arrives, by the other side's clock.
SPENT_SECONDS: Final = 5.0
# After a refresh that failed while the old token is still good.
PAUSE_SECONDS: Final = 30.0

_MOST_CHARACTERS: Final = 2_000

_random = secrets.SystemRandom()


@frozen
class _Held:
    text: str
    refresh_at: float
    spent_at: float


class TokenSource:
    """Keeps a valid token.  It runs on the hub loop, and asks for the first one when it is needed.

    Args:
        make_credential: Makes the credential, on the thread that will ask it; called once.
        scope: What tokens are asked for.
        clock: The time of day, in seconds since 1970.
    """

    def __init__(
        self,
        make_credential: Callable[[], TokenCredential],
        scope: str,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._make_credential = make_credential
        self._scope = scope
        self._clock = clock
        self._credential: TokenCredential | None = None
        self._held: _Held | None = None
        self._refresh: asyncio.Task[_Held] | None = None
        self._not_before = 0.0

    async def token(self) -> str:
        """Return a token that is still good.

        Raises:
            CallError: UNAUTHENTICATED if the credential says no, UNAVAILABLE if it could not ask.
        """
        held, now = self._held, self._clock()
        if held is None or now >= held.spent_at:
            return (await asyncio.shield(self._refreshing())).text
        if now >= max(held.refresh_at, self._not_before):
            self._refreshing()
        return held.text

    def reject(self, token: str) -> bool:
        """Forget a token that the engine did not accept; say whether asking again may help."""
        if self._held is not None and self._held.text == token:
            self._held = None
            return True
        return self._held is not None  # somebody else has fetched another since

    def _refreshing(self) -> asyncio.Task[_Held]:
        """Start to fetch a token, unless that is under way."""
        if self._refresh is None:
            self._refresh = asyncio.create_task(self._fetch(), name="durableflow-token")
            self._refresh.add_done_callback(self._refreshed)
        return self._refresh

    def _refreshed(self, task: asyncio.Task[_Held]) -> None:
        self._refresh = None
        if task.cancelled():
            return
        error = task.exception()
        if error is None:
            self._held = task.result()
        elif self._held is not None:
            self._not_before = self._clock() + PAUSE_SECONDS
            logger.warning("The token could not be refreshed, and is good for a while: %s", error)

    async def _fetch(self) -> _Held:
        try:
            token = await _on_a_thread(self._ask)
        except Exception as error:
            # A credential is other people's code, and raises what it likes.
            raise _no_token(error) from error
        now = self._clock()
        left = token.expires_on - now
        ahead = min(_random.uniform(LATEST_SECONDS, EARLIEST_SECONDS), left / 2)
        spent = min(SPENT_SECONDS, left / 10)
        return _Held(token.token, token.expires_on - ahead, token.expires_on - spent)

    def _ask(self) -> AccessToken:
        if self._credential is None:
            self._credential = self._make_credential()
        return self._credential.get_token(self._scope)


def _no_token(error: Exception) -> CallError:
    text = f"There is no token for the task hub: {str(error)[:_MOST_CHARACTERS]}"
    # The class of azure-core, by its name: a credential need not come from there.
    said_no = any(kind.__name__ == "ClientAuthenticationError" for kind in type(error).__mro__)
    return CallError(Status.UNAUTHENTICATED if said_no else Status.UNAVAILABLE, text)


async def _on_a_thread(function: Callable[[], T]) -> T:
    """Run a function on a daemon thread: a log-in that nobody answers must not hold the exit up."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: Any, error: Exception | None) -> None:
        if future.done():
            return
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)

    def run() -> None:
        result, error = None, None
        try:
            result = function()
        except Exception as caught:  # noqa: BLE001 - it is raised where the function is awaited
            error = caught
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=run, name="durableflow-token", daemon=True).start()
    return await future


@frozen
class _Kind:
    """A way to authenticate: a class of azure-identity, and what it takes of a connection string."""

    name: str
    credential: str
    takes: Mapping[str, str]


_ALLOWED: Final = "additionallyallowedtenants"
_TENANTS: Final = {"tenantid": "tenant_id", _ALLOWED: "additionally_allowed_tenants"}
_KINDS: Final = {
    kind.name.lower(): kind
    for kind in (
        _Kind("DefaultAzure", "DefaultAzureCredential", {"clientid": "managed_identity_client_id"}),
        _Kind("ManagedIdentity", "ManagedIdentityCredential", {"clientid": "client_id"}),
        _Kind(
            "WorkloadIdentity",
            "WorkloadIdentityCredential",
            {"clientid": "client_id", "tokenfilepath": "token_file_path", **_TENANTS},
        ),
        _Kind("Environment", "EnvironmentCredential", {}),
        _Kind("AzureCli", "AzureCliCredential", _TENANTS),
        _Kind("AzurePowerShell", "AzurePowerShellCredential", _TENANTS),
        _Kind("VisualStudioCode", "VisualStudioCodeCredential", _TENANTS),
        _Kind(
            "InteractiveBrowser",
            "InteractiveBrowserCredential",
            {"clientid": "client_id", **_TENANTS},
        ),
    )
}
NO_AUTHENTICATION: Final = "None"
CREDENTIAL_KEYS: Final = {
    "clientid": "ClientID",
    "tenantid": "TenantId",
    "tokenfilepath": "TokenFilePath",
    _ALLOWED: "AdditionallyAllowedTenants",
}
"""The keys of a connection string that are for its credential, as people write them."""


def azure_credential(options: Mapping[str, str]) -> Callable[[], TokenCredential] | None:
    """Prepare the credential that a connection string asks for; nothing of Azure is loaded yet.

    Args:
        options: Its parts, by lower-case name.

    Returns:
        What makes the credential; None for ``Authentication=None``.

    Raises:
        TaskHubAddressError: it asks for something that there is not.
        SetupError: azure-identity is not installed.
    """
    asked = options.get("authentication", "")
    given = {key for key in CREDENTIAL_KEYS if options.get(key)}
    if asked.lower() == NO_AUTHENTICATION.lower():
        _refuse_unused(NO_AUTHENTICATION, given)
        return None
    kind = _KINDS.get(asked.lower())
    if kind is None:
        names = ", ".join([*(each.name for each in _KINDS.values()), NO_AUTHENTICATION])
        raise TaskHubAddressError(
            f"The connection string has {f'Authentication={asked}' if asked else 'no Authentication='}"
            f"; it is one of {names}. The emulator takes {NO_AUTHENTICATION}."
        )
    _refuse_unused(kind.name, given - kind.takes.keys())
    if not _has_azure_identity():
        raise SetupError(
            f"Authentication={kind.name} needs the package azure-identity, which is not installed. "
            "Run: pip install 'durableflow[azure]'"
        )
    arguments: dict[str, Any] = {kind.takes[key]: options[key] for key in sorted(given)}
    if _ALLOWED in given:
        tenants = options[_ALLOWED].split(",")
        arguments[kind.takes[_ALLOWED]] = [name.strip() for name in tenants if name.strip()]
    return lambda: _load(kind.credential, arguments)


def _refuse_unused(name: str, keys: set[str]) -> None:
    if keys:
        unused = " and ".join(CREDENTIAL_KEYS[key] for key in sorted(keys))
        raise TaskHubAddressError(
            f"Authentication={name} makes no use of {unused}. Leave it out of the connection "
            "string, or choose another Authentication=."
        )


def _has_azure_identity() -> bool:
    try:
        return importlib.util.find_spec("azure.identity") is not None
    except ModuleNotFoundError:  # not even the parent
        return False


def _load(name: str, arguments: Mapping[str, Any]) -> TokenCredential:
    import azure.identity

    credential: TokenCredential = getattr(azure.identity, name)(**arguments)
    return credential
