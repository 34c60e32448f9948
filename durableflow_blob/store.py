"""The blob service itself: what is put there, read, listed and deleted, and how that fails."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from hashlib import sha256
from typing import Any, Final

import attrs
from azure.core import MatchConditions
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ResourceExistsError,
    ResourceModifiedError,
    ResourceNotFoundError,
)
from azure.core.pipeline.transport import RequestsTransport
from azure.storage.blob import BlobServiceClient, ContentSettings

from durableflow import PayloadDeniedError, PayloadLostError, PayloadUnavailableError
from durableflow_blob.compression import DamagedError, restore
from durableflow_blob.flights import Flights
from durableflow_blob.references import BlobAddress, check_account_url

_DENIED: Final = frozenset({401, 403})
_GZIP: Final = "gzip"
_JSON: Final = "application/json"
_TRIES: Final = 3
_PIECE_BYTES: Final = 4 * 1024 * 1024

# No redirects: requests go to the accounts that are allowed, and nowhere else.
_OPTIONS: Final[dict[str, Any]] = {
    "permit_redirects": False,
    # The client holds an answer several times over, so what is large comes in pieces.
    "max_single_get_size": _PIECE_BYTES,
    "max_chunk_get_size": _PIECE_BYTES,
    "retry_total": 2,
    "initial_backoff": 1,
    "increment_base": 2,
    "random_jitter_range": 1,
}


@attrs.frozen
class Blob:
    """What was read: content, and when it was stored."""

    content: bytes
    stored_at: datetime


@attrs.frozen
class Listed:
    """A blob of a list."""

    name: str
    stored_at: datetime
    etag: str
    size: int


class BlobStore:
    """The accounts that payloads are in.  Any thread may use it.

    Args:
        connection_string: Of the account; None: ``account_url`` says which one.
        account_url: The account, reached with ``credential``.
        max_concurrency: How many requests may be under way at once.
        timeout_seconds: How long each may take to connect, and to go on.

    Raises:
        ValueError: these do not name one account.
    """

    def __init__(
        self,
        *,
        connection_string: str | None,
        account_url: str | None,
        credential: Any,
        max_concurrency: int,
        timeout_seconds: float,
    ) -> None:
        if (connection_string is None) == (account_url is None):
            raise ValueError("give either connection_string or account_url")
        self._connection_string = connection_string
        self._credential = credential
        self._own_credential: Any = None
        self._timeouts = {"connection_timeout": timeout_seconds, "read_timeout": timeout_seconds}
        self._slots = threading.BoundedSemaphore(max_concurrency)
        self._lock = threading.Lock()
        self._services: dict[str, BlobServiceClient] = {}
        self._creations: Flights[None] = Flights()
        self._created: dict[str, float] = {}
        if connection_string is not None:
            service = self._by_connection_string(connection_string)
            self.account_url = check_account_url(_without_query(service.url))
        else:
            self.account_url = check_account_url(account_url or "")
            service = self._by_credential(self.account_url)
        self._services[self.account_url] = service

    def close(self) -> None:
        """Close all connections.  The next request makes new ones."""
        with self._lock:
            services, self._services = self._services, {}
            credential, self._own_credential = self._own_credential, None
        for service in services.values():
            service.close()
        if credential is not None:
            credential.close()

    def put(self, address: BlobAddress, content: bytes, *, is_gzip: bool, create: bool) -> None:
        """Store a blob, whether it is there already or not.

        Args:
            create: Make the container if there is none.

        Raises:
            PayloadUnavailableError: it cannot be stored now.
        """
        settings = ContentSettings(content_type=_JSON, content_encoding=_GZIP if is_gzip else None)
        with self._slots, _named_errors(address, "Storage Blob Data Contributor"):
            container = self._service(address.account_url).get_container_client(address.container)
            begun = time.monotonic()
            try:
                container.upload_blob(
                    address.name, content, overwrite=True, content_settings=settings
                )
            except ResourceNotFoundError:
                if not create:
                    raise
                self._creations.do(container.url, lambda: self._create(container, begun))
                container.upload_blob(
                    address.name, content, overwrite=True, content_settings=settings
                )

    def get(self, address: BlobAddress, *, most_bytes: int) -> Blob:
        """Read a blob, decompressed if it is compressed.

        Raises:
            PayloadLostError: it is gone, or damaged.
            PayloadUnavailableError: it cannot be read now.
            TooLargeError: it is larger than allowed.
        """
        for last in (False,) * (_TRIES - 1) + (True,):
            try:
                with self._slots, _named_errors(address, "Storage Blob Data Reader"):
                    return self._read(address, most_bytes)
            except DamagedError as error:  # perhaps on the way only
                if last:
                    reference = address.reference("v1")
                    raise PayloadLostError(
                        f"The blob of {reference} is damaged: {error}.", reference=reference
                    ) from error
        raise AssertionError

    def list(self, container: str, folder: str) -> Iterator[Listed]:
        """Yield the blobs of a folder.

        Raises:
            PayloadUnavailableError: they cannot be listed now.
        """
        address = BlobAddress(self.account_url, container, folder)
        with _named_errors(address, "Storage Blob Data Reader"):
            client = self._service(self.account_url).get_container_client(container)
            for found in client.list_blobs(name_starts_with=folder):
                yield Listed(found.name, found.last_modified, found.etag, found.size)

    def delete(self, container: str, blob: Listed) -> bool:
        """Delete a blob unless it was stored again meanwhile; return whether it is deleted.

        Raises:
            PayloadUnavailableError: it cannot be deleted now.
        """
        address = BlobAddress(self.account_url, container, blob.name)
        with _named_errors(address, "Storage Blob Data Contributor"):
            client = self._service(self.account_url).get_blob_client(container, blob.name)
            try:
                client.delete_blob(etag=blob.etag, match_condition=MatchConditions.IfNotModified)
            except (ResourceModifiedError, ResourceNotFoundError):
                return False
        return True

    def _read(self, address: BlobAddress, most_bytes: int) -> Blob:
        client = self._service(address.account_url).get_blob_client(address.container, address.name)
        # What is compressed is said by a header or by the first bytes, so nothing may guess.
        download = client.download_blob(decompress=False)
        properties = download.properties
        is_gzip = properties.content_settings.content_encoding == _GZIP
        content = restore(download.chunks(), most_bytes=most_bytes, is_gzip=is_gzip)
        expected = address.expected_hash
        if expected is not None and sha256(content).hexdigest() != expected:
            raise DamagedError("it does not hold what was stored there")
        return Blob(content, properties.last_modified)

    def _create(self, container: Any, missed: float) -> None:
        """Make a container, unless that has been done since it was missed."""
        if self._created.get(container.url, missed) > missed:
            return
        with contextlib.suppress(ResourceExistsError):  # another process was faster
            container.create_container()
        self._created[container.url] = time.monotonic()

    def _service(self, account_url: str) -> BlobServiceClient:
        with self._lock:
            service = self._services.get(account_url)
            if service is None:
                service = self._services[account_url] = self._connect(account_url)
        return service

    def _connect(self, account_url: str) -> BlobServiceClient:
        if self._connection_string is not None and account_url == self.account_url:
            return self._by_connection_string(self._connection_string)
        return self._by_credential(account_url)

    def _by_connection_string(self, text: str) -> BlobServiceClient:
        return BlobServiceClient.from_connection_string(text, **self._options())

    def _by_credential(self, account_url: str) -> BlobServiceClient:
        credential = self._credential or self._own_credential
        if credential is None:
            # An import of its own: whoever has a connection string needs no azure-identity.
            from azure.identity import DefaultAzureCredential

            credential = self._own_credential = DefaultAzureCredential()
        return BlobServiceClient(account_url, credential=credential, **self._options())

    def _options(self) -> dict[str, Any]:
        return {**_OPTIONS, "transport": _Transport(**self._timeouts)}


class _Transport(RequestsTransport):  # type: ignore[misc]  # azure-core loads it by a look-up
    """Closes its connections when it is closed.

    Otherwise they would stay open until the garbage collector comes across whatever has a trace of
    them left: errors do, for example.
    """

    def close(self) -> None:
        adapters = () if self.session is None else tuple(self.session.adapters.values())
        pools = [pool for adapter in adapters for pool in _pools(adapter)]
        super().close()
        for pool in pools:
            pool.close()


def _pools(adapter: Any) -> Iterator[Any]:
    for manager in (adapter.poolmanager, *adapter.proxy_manager.values()):
        keys = manager.pools.keys()  # it cannot be iterated over itself
        yield from (manager.pools[key] for key in keys)


def _without_query(url: str) -> str:
    return url.partition("?")[0]


@contextlib.contextmanager
def _named_errors(address: BlobAddress, role: str) -> Iterator[None]:
    """Say what an error of the service means."""
    place = f"{address.account_url}/{address.container}"
    reference = address.reference("v1")
    try:
        yield
    except ResourceNotFoundError as error:
        raise PayloadLostError(f"There is no blob for {reference}.", reference=reference) from error
    except ClientAuthenticationError as error:
        raise _denied(place, role, error) from error
    except HttpResponseError as error:
        if error.status_code in _DENIED:
            raise _denied(place, role, error) from error
        raise PayloadUnavailableError(f"{place} does not answer: {_first_line(error)}") from error
    except (AzureError, OSError) as error:
        raise PayloadUnavailableError(f"{place} does not answer: {_first_line(error)}") from error


def _denied(place: str, role: str, error: Exception) -> PayloadDeniedError:
    return PayloadDeniedError(
        f"{place} refuses access: {_first_line(error)} Assign the role '{role}' on it to whom this "
        "process runs as."
    )


def _first_line(error: Exception) -> str:
    # urllib3 tells the address in memory of a connection, another one each time.
    line = re.sub(r"<[\w.]+ object at 0x\w+>: ", "", str(error).partition("\n")[0])
    return line[:300].rstrip(".") + "."
