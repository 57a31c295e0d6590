"""Column files are mapped as they lie on disk, and a query over them is compared with Parquet."""

import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from analysis import load
from analysis.errors import AnalysisError
from recorder.columns.files import ColumnFiles, Day

_DAY = date(2026, 3, 5)
_NUMBER = 20_517
_START = _NUMBER * 86_400


def write(folder: Path, rows: int) -> None:
    files = ColumnFiles(folder, "f32")
    for number in range(rows):
        values = (number, _START + number, 7000, 60_000.25 + number, 0.5, 1 + number % 2, bytes(16), bytes(16))
        files.add(Day("kraken", "BTC/USD", "TRADES", _NUMBER), values)
    files.flush()
    files.close()


def test_columns_are_mapped_and_not_copied(tmp_path: Path) -> None:
    write(tmp_path, 100)
    found = load.columns(tmp_path, "kraken", "BTC/USD", "TRADES", "2026-03-05")
    assert list(found) == ["id", "time", "nanos", "price", "size", "side", "maker_order_id", "taker_order_id"]
    assert all(isinstance(values, np.memmap) and len(values) == 100 for values in found.values())
    assert found["price"].tolist() == [60_000.25 + number for number in range(100)]
    assert found["time"][-1] == _START + 99
    assert bytes(found["maker_order_id"][0]) == bytes(16)


def test_a_row_that_is_not_in_every_column_yet_is_left_out(tmp_path: Path) -> None:
    write(tmp_path, 3)
    with (tmp_path / "kraken" / "BTC%2FUSD" / "TRADES" / "id.05.03.26.bin").open("ab") as file:
        file.write(bytes(11))
    found = load.columns(tmp_path, "kraken", "BTC/USD", "TRADES", _DAY)
    assert {len(values) for values in found.values()} == {3}


def test_a_day_without_rows_is_empty_and_an_unknown_symbol_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, 3)
    assert len(load.columns(tmp_path, "kraken", "BTC/USD", "MD", _DAY)["time"]) == 0
    with pytest.raises(AnalysisError, match="no column files of kraken ETH/USD"):
        load.columns(tmp_path, "kraken", "ETH/USD", "MD", _DAY)


def _best_s(query: Callable[[], float]) -> tuple[float, float]:
    times = []
    for _ in range(3):
        began_s = time.perf_counter()
        answer = query()
        times.append(time.perf_counter() - began_s)
    return min(times), answer


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_query_over_fifty_million_rows_is_faster_than_over_parquet(tmp_path: Path) -> None:
    rows, chunk = 50_000_000, 1 << 18
    write(tmp_path, 1)  # the manifest and the folders
    rng = np.random.default_rng(7)
    folder = tmp_path / "kraken" / "BTC%2FUSD" / "TRADES"
    made = {
        "time": (_START + np.sort(rng.integers(0, 86_400, rows))).astype("<u4"),
        "price": (60_000 + np.cumsum(rng.normal(0, 0.1, rows))).round(1).astype("<f4"),
        "size": rng.exponential(1, rows).round(3).astype("<f4"),
        "side": rng.integers(1, 3, rows).astype("<u4"),
    }
    for name, values in made.items():
        values.tofile(folder / f"{name}.05.03.26.bin")
    for name, width in (("id", 8), ("nanos", 4), ("maker_order_id", 16), ("taker_order_id", 16)):
        with (folder / f"{name}.05.03.26.bin").open("r+b") as file:
            file.truncate(rows * width)
    pl.DataFrame(made).write_parquet(tmp_path / "day.parquet")
    del made

    def mapped() -> float:
        day = load.columns(tmp_path, "kraken", "BTC/USD", "TRADES", _DAY)
        first, last = np.searchsorted(day["time"], [_START + 6 * 3600, _START + 18 * 3600])
        value = volume = 0.0
        for at in range(first, last, chunk):
            end = min(at + chunk, last)
            size = np.where(day["side"][at:end] == 1, day["size"][at:end], 0).astype(np.float64)
            value += float(np.dot(size, day["price"][at:end].astype(np.float64)))
            volume += float(size.sum())
        return value / volume

    def parquet() -> float:
        price, size = pl.col("price").cast(pl.Float64), pl.col("size").cast(pl.Float64)
        wanted = pl.col("time").is_between(_START + 6 * 3600, _START + 18 * 3600, "left") & (pl.col("side") == 1)
        scan = pl.scan_parquet(tmp_path / "day.parquet").filter(wanted)
        return float(scan.select((price * size).sum() / size.sum()).collect().item())

    (mapped_s, one), (parquet_s, other) = _best_s(mapped), _best_s(parquet)
    print(
        f"{rows} rows: memmap {mapped_s:.2f} s, Parquet by polars {parquet_s:.2f} s, ratio {parquet_s / mapped_s:.1f}"
    )
    assert one == pytest.approx(other, rel=1e-9)
    assert mapped_s < parquet_s
