"""The converter's two directions, as the tests call them."""

from collections.abc import Callable
from typing import Any

import pytest

from durableflow.converter import Converter

WHERE = "input of activity 'charge'"


@pytest.fixture
def converter() -> Converter:
    return Converter()


@pytest.fixture
def write(converter: Converter) -> Callable[..., str | None]:
    return lambda value, declared=Any: converter.dumps(value, declared, where=WHERE)


@pytest.fixture
def read(converter: Converter) -> Callable[..., Any]:
    return lambda text, declared=Any: converter.loads(text, declared, where=WHERE)


@pytest.fixture
def travel(converter: Converter) -> Callable[[Any, Any], Any]:
    def there_and_back(value: Any, declared: Any) -> Any:
        text = converter.dumps(value, declared, where=WHERE)
        return converter.loads(text, declared, where=WHERE)

    return there_and_back
