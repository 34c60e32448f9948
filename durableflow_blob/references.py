"""What travels in place of a payload, and which of it may be followed."""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Final, Literal
from urllib.parse import quote, unquote, urlsplit

import attrs

ReferenceFormat = Literal["v1", "v2"]

PREFIXES: Final = ("blob:v1:", "blob:v2:")
SHARED: Final = "shared/"
INSTANCES: Final = "instances/"

_V1: Final = re.compile(r"blob:v1:(?P<container>[a-z0-9$][a-z0-9-]{2,62}):(?P<name>\S[^\n]*)")
_V2: Final = re.compile(r"blob:v2:(?P<url>(?i:https?)://\S+)")
# A name may hold anything, for other SDKs put ids of instances into it; but nobody's id has this.
_SIGNED: Final = re.compile(r"[?&]sig=", re.IGNORECASE)
_HASHED: Final = re.compile(rf"(?:{SHARED}|{INSTANCES}[^/]+/)(?P<hash>[0-9a-f]{{64}})")
_LOCAL: Final = frozenset({"127.0.0.1", "localhost", "::1"})
_LONGEST_PART: Final = 200


class RefusedError(Exception):
    """A reference must not be followed."""


@attrs.frozen
class BlobAddress:
    """Where a blob is.

    Attributes:
        account_url: Without a slash at its end.
        container: Its container's name.
        name: Its name there.
    """

    account_url: str
    container: str
    name: str

    @property
    def expected_hash(self) -> str | None:
        """The hash that its content must have; None for blobs of other SDKs."""
        found = _HASHED.fullmatch(self.name)
        return found["hash"] if found else None

    def reference(self, version: ReferenceFormat) -> str:
        """Return the text that stands for the blob."""
        if version == "v1":
            return f"blob:v1:{self.container}:{self.name}"
        return f"blob:v2:{self.account_url}/{self.container}/{quote(self.name)}"


def is_reference(text: str) -> bool:
    """Whether a text is a reference.  No JSON is."""
    return text.startswith(PREFIXES) and bool(_V1.fullmatch(text) or _V2.fullmatch(text))


def read_reference(text: str, account_url: str) -> BlobAddress:
    """Read a reference of this package or of another SDK.

    Args:
        account_url: The account that a reference means that names none.

    Raises:
        RefusedError: it carries credentials, or is no plain address.
    """
    if _SIGNED.search(text):
        raise RefusedError("it carries credentials")
    if found := _V1.fullmatch(text):
        return BlobAddress(account_url, found["container"], found["name"])
    found = _V2.fullmatch(text)
    url = urlsplit(found["url"] if found else "")
    if url.username is not None or url.password is not None or url.query or url.fragment:
        raise RefusedError("it carries more than an address, perhaps credentials")
    base = urlsplit(account_url)
    if (url.scheme, url.netloc) == (base.scheme, base.netloc):
        root = base.path.rstrip("/")  # the emulator's account is in the path
    else:
        root, account_url = "", f"{url.scheme}://{url.netloc}"
    if not url.path.startswith(root + "/"):
        raise RefusedError("it is in another account")
    container, _, name = unquote(url.path[len(root) + 1 :]).partition("/")
    if not container or not name:
        raise RefusedError("it names no blob")
    return BlobAddress(account_url, container, name)


def redacted(text: str) -> str:
    """Return a reference without what may be a secret."""
    text = text.partition("?")[0].partition("#")[0]
    return re.sub(r"//[^/]*@", "//", text)[:500]


def check_account_url(url: str) -> str:
    """Return an account's URL in its plain form.

    Raises:
        ValueError: it is none, or could send credentials over the network in the clear.
    """
    parts = urlsplit(url)
    if parts.username is not None or parts.query or parts.fragment or not parts.hostname:
        raise ValueError("account_url: give https://<account>.blob.core.windows.net and no more")
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOCAL):
        raise ValueError("account_url: it must begin with https://, but for the emulator here")
    return url.rstrip("/")


def folder_of(instance_id: str) -> str:
    """Return where the private payloads of an instance are."""
    part = quote(instance_id, safe="").replace(".", "%2E")
    if len(part) > _LONGEST_PART:
        part = sha256(instance_id.encode()).hexdigest()
    return f"{INSTANCES}{part}/"
