"""Keeps large payloads in Azure Blob Storage; for now only a name and a version."""

__all__ = ["__version__"]

__version__ = "0.1.0"
