"""What the tests of replay share."""

import pytest

from tests.unit.replay.histories import Bench
from tests.unit.replay.orchestrators import charge, hello, ping


@pytest.fixture
def bench() -> Bench:
    return Bench(charge, hello, ping)
