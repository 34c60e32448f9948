"""Values to JSON text and back, by the types that functions declare.

- ``core``: ``Converter``, the only thing the rest of durableflow calls.
- ``record``: ``Record``, what a JSON object becomes where nothing is declared.
- ``hooks``: which conversion a type gets.  cattrs keeps the users' own, which always win.
- ``scalars``, ``choices``, ``containers``, ``objects``, ``plain``, ``unions``: the conversions.
- ``kind``: what such a conversion consists of.
- ``annotations``, ``mismatch``: reading types, and saying what does not fit where.

No module here may touch a clock, a thread, a file or the network, or import a class by a name
found in data: conversion runs inside orchestrators, on texts that anybody may have written.
"""

from __future__ import annotations

from durableflow.converter.core import Converter
from durableflow.converter.record import Record

__all__ = ["Converter", "Record"]
