"""The version of durableflow; the package's metadata is read from here."""

__version__ = "0.1.0"
