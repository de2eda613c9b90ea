"""Settings are of the whole process, so each test gives them back."""

from collections.abc import Iterator

import pytest

from evaluation.process.settings import ProcessSettings


@pytest.fixture
def restored_settings() -> Iterator[None]:
    before = ProcessSettings.current()
    yield
    before.apply()
