"""Keeps large payloads in Azure Blob Storage: ``BlobPayloads`` is a plugin of durableflow."""

from durableflow_blob.plugin import BlobPayloads

__all__ = ["BlobPayloads", "__version__"]

__version__ = "0.1.0"
