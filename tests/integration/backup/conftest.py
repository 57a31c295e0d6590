"""A recorder, a writer and an embedded server of their own, whose data can be backed up and restored."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.keeping.backups import Vault


@pytest.fixture
def vault(tmp_path: Path) -> Iterator[Vault]:
    made = Vault(tmp_path / "home")
    yield made
    made.close()
