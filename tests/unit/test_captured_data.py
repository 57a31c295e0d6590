"""A test that lacks its data set is skipped on a developer's machine and fails in CI."""

from pathlib import Path

import pytest
from support.captured_data import require

ABSENT = Path("/nowhere/captures")


def test_a_missing_data_set_skips_the_test_with_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="/nowhere/captures is absent"):
        require(ABSENT)


def test_a_missing_data_set_fails_the_test_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="/nowhere/captures is absent"):
        require(ABSENT)


def test_a_data_set_that_exists_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    assert require(tmp_path) == tmp_path
