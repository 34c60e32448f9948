"""gRPC, told not to write a log of its own to stderr: what matters arrives as exceptions."""

from __future__ import annotations

import os

# gRPC's core reads this once, while it is imported.  A value that the user has set stays, and
# nothing stays behind for other programs that this one starts.
_VERBOSITY = "GRPC_VERBOSITY"
_quiet = _VERBOSITY not in os.environ
if _quiet:
    os.environ[_VERBOSITY] = "NONE"
try:
    import grpc as grpc
finally:
    if _quiet:
        del os.environ[_VERBOSITY]

__all__ = ["grpc"]
