"""``BlobPayloads``: the plugin, and the codec that it registers."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, Literal

import attrs

from durableflow import (
    ActivityStarted,
    App,
    PayloadField,
    PayloadLostError,
    PayloadTooLargeError,
    PayloadUnavailableError,
    TurnFinished,
    hookimpl,
)
from durableflow_blob.cache import PayloadCache
from durableflow_blob.compression import TooLargeError, compress
from durableflow_blob.flights import Flights
from durableflow_blob.known import Execution, KnownBlobs
from durableflow_blob.references import (
    PREFIXES,
    SHARED,
    BlobAddress,
    RefusedError,
    check_account_url,
    folder_of,
    is_reference,
    read_reference,
    redacted,
)
from durableflow_blob.store import BlobStore, Listed

_MIB: Final = 1024 * 1024
_MOST_BYTES_PER_CHARACTER: Final = 4


class ReferencesApp(App):
    """An app that gets references, not what they stand for, also where settings name the plugin."""


@attrs.define(kw_only=True, eq=False)
class BlobPayloads:
    """Keeps payloads over a threshold in Azure Blob Storage; short references travel instead.

    Give it to every app that serves or uses a task hub: ``App(..., plugins=[BlobPayloads(...)])``,
    or name it in settings (``[plugins.blob]``).

    Attributes:
        connection_string: Of the storage account; ``UseDevelopmentStorage=true`` is the emulator.
        account_url: The account instead, ``https://<account>.blob.core.windows.net``.
        credential: For ``account_url``; ``DefaultAzureCredential`` unless given.
        container_name: The container that payloads are stored in.
        create_container: Whether to make it if there is none.
        allowed_containers: What else may be read: names of containers of the account, and URLs of
            containers of others, which get the same ``credential``.
        threshold_bytes: Payloads that are larger are stored.
        max_payload_bytes: Payloads that are larger are refused.
        compress: Whether they are compressed.
        declare_compression: Whether blobs say in their ``Content-Encoding`` that they are.  Most
            readers want that; the ``BlobPayloadStore`` of the ``durabletask`` package does only
            with ``enable_compression=False``.
        reference_format: Of what is written; both are read.
        cache_bytes: How much memory may keep of what was stored or read.
        cache_folder: Where to put what does not fit there; None: nowhere.
        cache_folder_bytes: How much may be put there.
        max_concurrency: How many requests may be under way at once.
        timeout_seconds: How long a request may take to connect, and to go on.
    """

    connection_string: str | None = attrs.field(default=None, repr=False)
    account_url: str | None = None
    credential: Any = attrs.field(default=None, repr=False)
    container_name: str = "durableflow-payloads"
    create_container: bool = True
    allowed_containers: tuple[str, ...] = attrs.field(default=(), converter=tuple)
    threshold_bytes: int = attrs.field(default=900_000, validator=attrs.validators.ge(0))
    max_payload_bytes: int = attrs.field(default=100 * _MIB, validator=attrs.validators.gt(0))
    compress: bool = True
    declare_compression: bool = True
    reference_format: Literal["v1", "v2"] = attrs.field(
        default="v1", validator=attrs.validators.in_(("v1", "v2"))
    )
    cache_bytes: int = attrs.field(default=64 * _MIB, validator=attrs.validators.ge(0))
    cache_folder: Path | None = None
    cache_folder_bytes: int = attrs.field(default=1024 * _MIB, validator=attrs.validators.ge(0))
    max_concurrency: int = attrs.field(default=16, validator=attrs.validators.gt(0))
    timeout_seconds: float = attrs.field(default=20.0, validator=attrs.validators.gt(0))
    _store: BlobStore = attrs.field(init=False, repr=False)
    _readable: frozenset[tuple[str, str]] = attrs.field(init=False, repr=False)
    _cache: PayloadCache = attrs.field(init=False, repr=False)
    _known: KnownBlobs = attrs.field(init=False, repr=False, factory=KnownBlobs)
    _uploads: Flights[None] = attrs.field(init=False, repr=False, factory=Flights)
    _downloads: Flights[str] = attrs.field(init=False, repr=False, factory=Flights)
    _lock: threading.Lock = attrs.field(init=False, repr=False, factory=threading.Lock)
    _users: int = attrs.field(init=False, repr=False, default=0)

    def __attrs_post_init__(self) -> None:
        self._store = BlobStore(
            connection_string=self.connection_string,
            account_url=self.account_url,
            credential=self.credential,
            max_concurrency=self.max_concurrency,
            timeout_seconds=self.timeout_seconds,
        )
        allowed = (_container(text, self._store.account_url) for text in self.allowed_containers)
        self._readable = frozenset({(self._store.account_url, self.container_name), *allowed})
        self._cache = PayloadCache(self.cache_bytes, self.cache_folder, self.cache_folder_bytes)

    @property
    def store(self) -> BlobStore:
        """Where the payloads are."""
        return self._store

    @hookimpl
    def register_payload_codecs(self, app: App) -> list[BlobPayloads]:
        """See ``durableflow.hookspecs``."""
        return [] if isinstance(app, ReferencesApp) else [self]

    @hookimpl
    def app_opened(self) -> None:
        """See ``durableflow.hookspecs``."""
        with self._lock:
            self._users += 1

    @hookimpl
    def app_closed(self) -> None:
        """Close the connections when nobody uses them any more."""
        with self._lock:
            self._users -= 1
            unused = self._users == 0
        if unused:
            self.close()

    @hookimpl
    def turn_finished(self, turn: TurnFinished) -> None:
        """See ``durableflow.hookspecs``.  What the turn asked for is stored after this."""
        self._begin(turn.instance_id, turn.execution_id)

    @hookimpl
    def activity_started(self, activity: ActivityStarted) -> None:
        """See ``durableflow.hookspecs``."""
        self._begin(activity.instance_id, activity.execution_id)

    @hookimpl
    def register_cleanups(self, instance_ids: Sequence[str]) -> Callable[[], None]:
        """Offer to delete what has been stored for instances alone.

        What is stored from here on stays, under the same names too: it may be of instances that
        start with the same ids as soon as these are gone.
        """
        found: list[Listed] = []
        for instance_id in instance_ids:
            folder = folder_of(instance_id)
            self._known.forget(folder)
            with contextlib.suppress(PayloadLostError):  # there is no container yet
                found += self._store.list(self.container_name, folder)
        return partial(self._delete, found)

    def close(self) -> None:
        """Close the connections to the storage account; they are made anew when they are needed."""
        self._store.close()

    def encodes(self, field: PayloadField, text: str, /) -> bool:
        """Whether a payload is large, or could be taken for a reference."""
        characters, limit = len(text), self.threshold_bytes
        if characters * _MOST_BYTES_PER_CHARACTER > limit and (
            characters > limit or (not text.isascii() and len(text.encode()) > limit)
        ):
            return True
        return text.startswith(PREFIXES)

    def encode(self, field: PayloadField, text: str, /, *, instance_id: str) -> str:
        """Store a payload and return its reference.

        Raises:
            PayloadTooLargeError: it is larger than ``max_payload_bytes``.
            PayloadUnavailableError: it cannot be stored now.
        """
        content = text.encode()
        if len(content) > self.max_payload_bytes:
            raise self._too_large(field, instance_id, len(content))
        digest = sha256(content).hexdigest()
        name = SHARED + digest
        if not self._known.certainly(name):
            if not field.crosses and instance_id:
                name = folder_of(instance_id) + digest
            if not self._known.certainly(name):
                by = self._known.at_work(name)
                self._uploads.do((name, by), lambda: self._upload(name, content, by))
        return self._address(name).reference(self.reference_format)

    def decodes(self, field: PayloadField, text: str, /) -> bool:
        """Whether a payload is a reference, of this or of another SDK."""
        return is_reference(text)

    def decode(self, field: PayloadField, text: str, /, *, instance_id: str) -> str:
        """Read the payload that a reference stands for.

        Raises:
            PayloadLostError: it is gone, damaged, or where nothing may be read.
            PayloadTooLargeError: it is larger than ``max_payload_bytes``.
            PayloadUnavailableError: it cannot be read now.
        """
        address = self._allowed(text)
        kept = self._cache.get(address)
        if kept is not None:
            return kept
        try:
            return self._downloads.do(address, lambda: self._download(address))
        except TooLargeError:
            raise self._too_large(field, instance_id, None) from None

    def _begin(self, instance_id: str, execution_id: str) -> None:
        if execution_id:  # not all engines say
            self._known.begin(folder_of(instance_id), execution_id)

    def _allowed(self, text: str) -> BlobAddress:
        """Read a reference.

        Raises:
            PayloadLostError: it must not be followed.
        """
        shown = redacted(text)
        try:
            address = read_reference(text, self._store.account_url)
        except RefusedError as error:
            raise PayloadLostError(
                f"The reference {shown} is not followed: {error}.", reference=shown
            ) from None
        if (address.account_url, address.container) not in self._readable:
            raise PayloadLostError(
                f"The reference {shown} is not followed: it is in another account or container "
                f"than {self._store.account_url}/{self.container_name}. Name it in "
                "allowed_containers if it can be trusted.",
                reference=shown,
            )
        return address

    def _address(self, name: str) -> BlobAddress:
        return BlobAddress(self._store.account_url, self.container_name, name)

    def _delete(self, blobs: Sequence[Listed]) -> None:
        for blob in blobs:
            self._store.delete(self.container_name, blob)

    def _upload(self, name: str, content: bytes, by: Execution | None) -> None:
        address = self._address(name)
        body = compress(content) if self.compress else content
        is_gzip = self.compress and self.declare_compression
        try:
            self._store.put(address, body, is_gzip=is_gzip, create=self.create_container)
        except PayloadLostError as error:
            raise PayloadUnavailableError(
                f"There is no container '{self.container_name}' in {self._store.account_url}."
            ) from error
        self._known.note(name, by)
        self._cache.put(address, content)

    def _download(self, address: BlobAddress) -> str:
        kept = self._cache.get(address)  # somebody may just have read it
        if kept is not None:
            return kept
        blob = self._store.get(address, most_bytes=self.max_payload_bytes)
        # What is one instance's alone may be of an earlier execution, and about to go.
        if address.name.startswith(SHARED) and address == self._address(address.name):
            self._known.note(address.name, stored_at=blob.stored_at.timestamp())
        self._cache.put(address, blob.content)
        return blob.content.decode()

    def _too_large(
        self, field: PayloadField, instance_id: str, size: int | None
    ) -> PayloadTooLargeError:
        place = f"{field.what} of instance '{instance_id}'" if instance_id else field.what
        told = f"{size:,} bytes" if size is not None else "more than that once decompressed"
        return PayloadTooLargeError(
            f"The {place} is too large for the payload store, which takes "
            f"{self.max_payload_bytes:,} bytes (max_payload_bytes): {told}.",
            place=place,
            size_bytes=size if size is not None else self.max_payload_bytes + 1,
            limit_bytes=self.max_payload_bytes,
        )


def _container(text: str, account_url: str) -> tuple[str, str]:
    """Read an allowed container: a name, or a URL."""
    if "://" not in text:
        return account_url, text
    account, _, container = text.rstrip("/").rpartition("/")
    return check_account_url(account), container
