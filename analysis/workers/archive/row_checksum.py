"""A checksum of rows that Postgres and a reader of Parquet compute independently of each other.

Each row becomes bytes: its columns in the order of the table's layout, as Postgres sends them in binary (integers and
instants in microseconds of 8 bytes, doubles of 8 bytes, the highest byte first), each behind a byte that is 0 for null;
texts and arrays follow at the end behind their lengths. The checksum of rows is the sum modulo 2^64 of the first eight
bytes of the SHA-256 of each, so their order does not count, and a row that is there twice does.
"""

from collections.abc import Iterator
from hashlib import sha256

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from analysis.load.tables import WORDS, Layout

MODULUS = 1 << 64
_BATCH = 1 << 16  # rows
_ARRAY_ELEMENT = 12  # bytes: a length of 4, and a double


def expression(layout: Layout) -> str:
    """Return the SQL of the first eight bytes of the SHA-256 of a row, as a bigint."""
    fixed, ends = [], []
    for field in layout.schema:
        name = field.name
        if name in WORDS:
            fixed.append(f"coalesce('\\x01'::bytea || convert_to({name}::text, 'UTF8'), '\\x0000')")
        elif pa.types.is_list(field.type):
            fixed.append(f"int4send(cardinality({name}))")
            ends.append(f"substr(array_send({name}), 13 + 8 * coalesce(array_ndims({name}), 0))")
        elif pa.types.is_string(field.type):
            fixed.append(f"coalesce('\\x01'::bytea || int4send(octet_length({name})), '\\x0000000000')")
            ends.append(f"coalesce(convert_to({name}, 'UTF8'), '')")
        elif pa.types.is_timestamp(field.type):
            sent = f"int8send((extract(epoch FROM {name}) * 1000000)::bigint)"
            fixed.append(f"coalesce('\\x01'::bytea || {sent}, '\\x000000000000000000')")
        else:
            sent = f"float8send({name})" if pa.types.is_floating(field.type) else f"int8send({name})"
            fixed.append(f"coalesce('\\x01'::bytea || {sent}, '\\x000000000000000000')")
    row = " || ".join([*fixed, *ends])
    return f"('x' || encode(substr(sha256({row}), 1, 8), 'hex'))::bit(64)::bigint"


def query(layout: Layout) -> str:
    """Return the query of (venue, rows, checksum) of a day; the venue of an instrument without a name is NULL."""
    return f"""
SELECT i.venue, count(*), ((sum(r.hash) %% {MODULUS}) + {MODULUS}) %% {MODULUS}
  FROM (SELECT instrument_id, {expression(layout)} AS hash
          FROM {layout.name} WHERE {layout.clock} >= %(low)s AND {layout.clock} < %(high)s) AS r
  LEFT JOIN instrument i USING (instrument_id)
 GROUP BY 1"""


def of_file(path: str, layout: Layout) -> tuple[int, int]:
    """Return the number of rows of a Parquet file and their checksum.

    Raises:
        OSError, pyarrow.ArrowException: The file is missing or damaged.
    """
    rows = total = 0
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(_BATCH, columns=list(layout.schema.names)):
            for digest in digests(pa.table(batch), layout):
                total += int.from_bytes(digest[:8], "big")
                rows += 1
    return rows, total % MODULUS


def digests(table: pa.Table, layout: Layout) -> Iterator[bytes]:
    """Yield the SHA-256 of each row. Coded columns may be text or of type CODE."""
    fixed: list[np.ndarray] = []
    ends: list[tuple[bytes, np.ndarray]] = []
    for field in layout.schema:
        column = table[field.name].combine_chunks()
        valid = np.asarray(pc.is_valid(column)).astype(np.uint8)[:, None]
        if field.name in WORDS:
            letters = np.frombuffer(
                "".join(pc.fill_null(column.cast(pa.string()), "\0").to_pylist()).encode(), np.uint8
            )
            fixed += [valid, letters[:, None]]
        elif pa.types.is_list(field.type):
            column = column.cast(pa.list_(pa.float64()))
            lengths = np.asarray(pc.list_value_length(column)).astype(np.int64)
            values = np.asarray(pc.list_flatten(column), np.float64)
            elements = np.zeros((len(values), _ARRAY_ELEMENT), np.uint8)
            elements[:, 3] = 8
            elements[:, 4:] = _big_endian(values, ">f8")
            fixed.append(_big_endian(lengths, ">i4"))
            ends.append((elements.tobytes(), _offsets(lengths * _ARRAY_ELEMENT)))
        elif pa.types.is_string(field.type):
            texts = [text.encode() for text in pc.fill_null(column.cast(pa.string()), "").to_pylist()]
            lengths = np.array([len(text) for text in texts], np.int64)
            fixed += [valid, _big_endian(lengths, ">i4")]
            ends.append((b"".join(texts), _offsets(lengths)))
        elif pa.types.is_floating(field.type):
            fixed += [valid, _big_endian(np.asarray(pc.fill_null(column, 0.0), np.float64), ">f8") * valid]
        else:
            numbers = np.asarray(pc.fill_null(column.cast(pa.int64()), 0), np.int64)
            fixed += [valid, _big_endian(numbers, ">i8") * valid]
    width = sum(part.shape[1] for part in fixed)
    rows = np.concatenate(fixed, axis=1).tobytes() if table.num_rows else b""
    for number in range(table.num_rows):
        digest = sha256(rows[number * width : (number + 1) * width])
        for content, offsets in ends:
            digest.update(content[offsets[number] : offsets[number + 1]])
        yield digest.digest()


def _big_endian(values: np.ndarray, form: str) -> np.ndarray:
    """Return values as rows of bytes, the highest first."""
    return np.ascontiguousarray(values.astype(form)).view(np.uint8).reshape(len(values), int(form[2]))


def _offsets(lengths: np.ndarray) -> np.ndarray:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
