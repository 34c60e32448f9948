"""Call statuses by the names that gRPC gives them, without needing gRPC."""

from __future__ import annotations

from enum import Enum


class Status(Enum):
    """How a call to a task hub ended, when it did not end well.

    The values are gRPC's numbers.  Source: https://grpc.io/docs/guides/status-codes/
    """

    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16
