"""The recorder's table of trading hours equals the library that it is generated from.

This needs exchange_calendars, which comes with the extra `analysis`.
"""

import importlib.util
from datetime import date
from types import ModuleType

import pytest
from support.captured_data import ROOT

from recorder.exchanges.table import SESSIONS, exchange

pytest.importorskip("exchange_calendars")
pytestmark = pytest.mark.filterwarnings("ignore")  # of the library, about pandas


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("exchange_sessions", ROOT / ".ci" / "exchange_sessions.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def table_of(name: str) -> list[str]:
    text = SESSIONS.read_text(encoding="ascii")
    return next(block for block in text.split("exchange ") if block.startswith(f"{name} ")).splitlines()


# All of them take a minute; `make exchanges` shows by `git diff` whether any has changed.
@pytest.mark.parametrize("name", ["XNYS", "XLON", "XTKS", "XHKG"])
def test_the_table_is_what_make_exchanges_writes(generator: ModuleType, name: str) -> None:
    head, *lines = generator.lines_of(name, *generator.days_of(name, generator.BEGINS.get(name, generator.FIRST)))
    assert table_of(name) == [head.removeprefix("exchange "), *lines]


@pytest.mark.parametrize("name", ["XNYS", "XLON", "XTKS", "XHKG", "BVMF", "XTAE"])
def test_every_minute_of_a_year_is_open_or_closed_as_the_library_says(name: str) -> None:
    import exchange_calendars

    first, last = date(2026, 1, 5), date(2026, 12, 31)
    library = exchange_calendars.get_calendar(name, start=str(first), end=str(last), side="left")
    expected = {minute.value // 10**9 for minute in library.minutes}
    ours = exchange(name)
    parts = [part for session in ours.sessions(first, last) for part in session.parts]
    assert not expected.symmetric_difference(at_s for start, end in parts for at_s in range(start, end, 60))
    for start, end in parts:
        assert ours.is_open(start)
        assert not ours.is_open(start - 1)
        assert ours.is_open(end - 1)
        assert not ours.is_open(end)
