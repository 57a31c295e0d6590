"""The journal: everything written is read, whatever happens to the disk."""

import contextlib
import itertools
import os
import subprocess
import tempfile
import threading
import tracemalloc
from array import array
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import recorder.journal.writer
from recorder.clock import ManualClock
from recorder.errors import ConfigError, JournalError, JournalFull
from recorder.journal.block import FILE_HEADER, BlockHeader, Run, StreamCheckpoint, encode_frames
from recorder.journal.reader import Damaged, JournalReader, StoredBlock, segment_path, segments
from recorder.journal.writer import Journal
from recorder.position import Position
from recorder.settings import JournalSettings

SETTINGS = JournalSettings(reserve_mb=0)
ALL = 1 << 62


def checkpoint(number: int) -> StreamCheckpoint:
    return StreamCheckpoint("A", "trade", 1, True, number, None, None, None, 0, None)


def write(journal: Journal, number: int, size: int = 40) -> None:
    """Append block `number`: one frame that names it, a part of one row, and a checkpoint that carries the number."""
    journal.next_position(lambda: ([checkpoint(number - 1)], []))
    frame = b"%d " % number + os.urandom(size)
    raw = encode_frames([frame], array("I", [len(frame)]).tobytes(), [(1000 + number, 1)])
    sections = [journal.section("", 1, raw, ()), journal.section("quote", 1, b"row %d" % number, (19_000,))]
    journal.append(BlockHeader(number, [Run(1, number, 1, 1000 + number)], [], [checkpoint(number)]), sections)


def numbers(items: list[StoredBlock | Damaged]) -> list[int]:
    """Return the numbers of the blocks that hold data."""
    return [item.header.written_ns for item in items if isinstance(item, StoredBlock) and item.parts]


def read(folder: Path, *, with_frames: bool = True) -> list[StoredBlock | Damaged]:
    reader = JournalReader(folder)
    try:
        return list(reader.read(reader.first(), ALL, with_frames=with_frames))
    finally:
        reader.close()


def opened(folder: Path, journal_settings: JournalSettings = SETTINGS) -> Journal:
    return Journal.open(folder, "venue", journal_settings, ManualClock())


@settings(max_examples=25, deadline=None)
@given(
    blocks=st.lists(
        st.tuples(
            st.lists(st.binary(max_size=60), max_size=5), st.dictionaries(st.sampled_from(["trade", "quote", "gap"]),
            st.binary(min_size=1, max_size=900), max_size=3), st.booleans()
        ),
        max_size=8,
    )
)  # fmt: skip
def test_any_blocks_survive_a_round_trip_through_the_disk(
    tmp_path_factory: pytest.TempPathFactory, blocks: list[tuple[list[bytes], dict[str, bytes], bool]]
) -> None:
    folder = tmp_path_factory.mktemp("journal")
    journal = opened(folder)
    for frames, parts, again in blocks:
        journal.next_position(lambda: ([], []))
        sections = [journal.section(table, 1, data, (1, 2)) for table, data in parts.items()]
        if frames:
            raw = encode_frames(frames, array("I", map(len, frames)).tobytes(), [(5, len(frames))])
            sections.insert(0, journal.section("", len(frames), raw, ()))
        journal.append(BlockHeader(1, [Run(1, 1, len(frames), 5)], [], []), sections)
        if again:  # a restart in between
            journal.close()
            journal = opened(folder)
    journal.close()
    reader = JournalReader(folder)
    found = []
    for item in reader.read(reader.first(), ALL):
        assert isinstance(item, StoredBlock)
        if not item.header.checkpoint:
            payloads = [frame.payload for frame in reader.frames_of(item)]
            found.append((payloads, {part.table: part.data for part in item.parts}))
    reader.close()
    assert found == [(frames, parts) for frames, parts, _ in blocks]


@pytest.fixture
def in_memory() -> Iterator[Path]:
    """A folder where a sync costs nothing, for tests that open a journal a thousand times."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder:
        yield Path(folder)


def test_a_segment_cut_at_any_byte_is_read_up_to_the_cut_and_recording_goes_on(in_memory: Path) -> None:
    folder = in_memory / "j"
    journal = opened(folder)
    ends = {0: 0}
    for number in range(1, 5):
        write(journal, number)
        ends[number] = journal.position.offset
    journal.close()
    path = segment_path(folder, 1)
    whole = path.read_bytes()
    for size in range(len(whole) + 1):
        for extra in segments(folder)[1:]:
            segment_path(folder, extra).unlink()
        path.write_bytes(whole[:size])
        expected = [number for number in range(1, 5) if ends[number] <= size]
        journal = opened(folder)
        # The rest ends with a complete block; what follows is cut and counted.
        assert path.stat().st_size == size - journal.recovered.cut_bytes
        assert journal.recovered.last_frame_ns == ({1: 1000 + expected[-1]} if expected else {})
        if expected:
            assert [one.last_id for one in journal.recovered.checkpoints] == [expected[-1]]
        write(journal, 9)
        journal.close()
        items = read(folder)
        assert numbers(items) == [*expected, 9]
        assert not any(isinstance(item, Damaged) for item in items) or size < ends[1]


@pytest.mark.parametrize("source", [1, 2], ids=["of an earlier segment", "of the same segment"])
@pytest.mark.parametrize("first", [0, 1])
def test_blocks_repeated_at_the_end_do_not_take_the_state_back(tmp_path: Path, source: int, first: int) -> None:
    folder = tmp_path / "j"
    for start in (1, 4):
        journal = opened(folder)
        for number in range(start, start + 3):
            write(journal, number)
        journal.close()
    *_, last = (item for item in read(folder) if isinstance(item, StoredBlock))
    some = [item for item in read(folder) if isinstance(item, StoredBlock) and item.position.segment == source][
        first:-1
    ]
    stretch = segment_path(folder, source).read_bytes()[some[0].position.offset : some[-1].next.offset]
    path = segment_path(folder, 2)
    path.write_bytes(path.read_bytes() + stretch)
    journal = opened(folder)
    recovered = journal.recovered
    assert ([one.last_id for one in recovered.checkpoints], recovered.last_frame_ns) == ([6], {1: 1006})
    assert (recovered.last_seq, recovered.last_incarnation, recovered.end) == (last.seq, last.incarnation, last.next)
    assert recovered.cut_bytes == 0  # a writer may have read them already
    journal.close()
    reader = JournalReader(folder)
    marks, known = reader.recall(Position(2, ALL))
    assert known is not None
    assert ([one.last_id for one in marks.values()], known.seq) == ([6], last.seq)
    reader.close()


def test_the_torn_tail_of_a_younger_segment_does_not_touch_the_older(tmp_path: Path) -> None:
    journal = opened(tmp_path / "j")
    write(journal, 1)
    journal.close()
    journal = opened(tmp_path / "j")
    write(journal, 2)
    journal.close()
    for size in (0, 5, FILE_HEADER.size, FILE_HEADER.size + 3):
        os.truncate(segment_path(tmp_path / "j", 2), size)
        journal = opened(tmp_path / "j")
        assert [one.last_id for one in journal.recovered.checkpoints] == [1]
        assert journal.recovered.last_frame_ns == {1: 1001}
        os.close(journal._lock)
    assert numbers(read(tmp_path / "j")) == [1]


def test_a_wrong_bit_costs_at_most_its_own_block(tmp_path: Path) -> None:
    folder = tmp_path / "j"
    journal = opened(folder)
    starts = {}
    for number in range(1, 6):
        journal.next_position(lambda: ([checkpoint(0)], []))
        starts[number] = journal.position.offset
        write(journal, number)
    journal.close()
    journal = opened(folder)
    write(journal, 6)
    journal.close()
    path = segment_path(folder, 1)
    whole = path.read_bytes()
    for at in range(FILE_HEADER.size, len(whole)):
        hit = max((number for number, start in starts.items() if start <= at), default=0)
        flipped = bytearray(whole)
        flipped[at] ^= 1 << (at % 8)
        path.write_bytes(flipped)
        items = read(folder)
        found = numbers(items)
        assert [number for number in found if number != hit] == [number for number in range(1, 7) if number != hit]
        reported = [item for item in items if isinstance(item, Damaged) or item.lost]
        assert len(reported) == 1, at
        if isinstance(reported[0], Damaged):
            assert reported[0].reason
            assert reported[0].position.offset == (starts[hit] if hit else FILE_HEADER.size)
        assert all(a.next <= b.position for a, b in itertools.pairwise(items))


def test_a_header_that_claims_gigabytes_costs_no_memory(tmp_path: Path) -> None:
    folder = tmp_path / "j"
    journal = opened(folder)
    for number in range(1, 4):
        write(journal, number)
    journal.close()
    path = segment_path(folder, 1)
    data = bytearray(path.read_bytes())
    place = FILE_HEADER.size + 4
    data[place : place + 4] = (60 << 20).to_bytes(4, "little")
    path.write_bytes(data)
    tracemalloc.start()
    try:
        assert numbers(read(folder)) == [1, 2, 3]
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_garbage_in_the_middle_is_skipped(tmp_path: Path) -> None:
    folder = tmp_path / "j"
    journal = opened(folder)
    write(journal, 1)
    end = journal.position.offset
    write(journal, 2)
    journal.close()
    path = segment_path(folder, 1)
    whole = path.read_bytes()
    garbage = os.urandom(5 << 20) + b"TDBK" * 1000
    path.write_bytes(whole[:end] + garbage + whole[end:])
    tracemalloc.start()
    try:
        items = read(folder)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()
    assert numbers(items) == [1, 2]
    (damaged,) = [item for item in items if isinstance(item, Damaged)]
    assert (damaged.position.offset, damaged.next.offset) == (end, end + len(garbage))


def test_a_reader_beside_the_writer_sees_every_block_once(tmp_path: Path) -> None:
    folder = tmp_path / "j"
    clock = ManualClock()
    journal = Journal.open(folder, "venue", JournalSettings(reserve_mb=0, segment_minutes=1), clock)
    done = threading.Event()

    def body() -> None:
        for number in range(1, 401):
            write(journal, number, size=number % 700)
            if number % 60 == 0:
                clock.advance(61)
        journal.close()
        done.set()

    thread = threading.Thread(target=body)
    thread.start()
    reader = JournalReader(folder)
    position = reader.first()
    found: list[int] = []
    while True:
        ended = done.is_set()
        some = list(reader.read(position, 4096))
        for item in some:
            assert isinstance(item, StoredBlock)
            position = item.next
        found += numbers(some)
        if ended and not some:
            break
    thread.join()
    reader.close()
    assert found == list(range(1, 401))
    assert segments(folder) == [1, 2, 3, 4, 5, 6, 7]
    assert reader.lag_bytes(position) == 0


def test_a_segment_that_appears_while_the_reader_searches_is_not_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = ManualClock()
    journal = Journal.open(tmp_path / "j", "venue", JournalSettings(reserve_mb=0, segment_minutes=1), clock)
    reader = JournalReader(tmp_path / "j")
    position = reader.first()
    open_segment = reader._open

    def looks_and_is_overtaken(segment: int) -> bool:
        found = open_segment(segment)
        if not segments(tmp_path / "j"):
            write(journal, 1)
            clock.advance(61)
            write(journal, 2)
        return found

    monkeypatch.setattr(reader, "_open", looks_and_is_overtaken)
    assert numbers(list(reader.read(position, 1 << 20))) == [1, 2]
    assert len(segments(tmp_path / "j")) == 2
    reader.close()
    journal.close()


def test_a_block_that_is_completed_while_the_reader_searches_behind_it_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = opened(tmp_path / "j")
    for number in (1, 2, 3):
        write(journal, number)
    journal.close()
    whole = [item for item in read(tmp_path / "j") if isinstance(item, StoredBlock)]
    path = segment_path(tmp_path / "j", 1)
    data = path.read_bytes()
    half = (whole[-2].position.offset + whole[-2].next.offset) // 2
    os.truncate(path, half)
    reader = JournalReader(tmp_path / "j")
    scan = reader._scan

    def is_overtaken(offset: int, size: int) -> int | None:
        with path.open("r+b") as file:
            file.seek(half)
            file.write(data[half:])
        return scan(offset, size)

    monkeypatch.setattr(reader, "_scan", is_overtaken)
    items = list(reader.read(reader.first(), ALL))
    assert numbers(items) == [1, 2, 3]
    assert not [item for item in items if isinstance(item, Damaged)]
    reader.close()


def test_a_reader_that_starts_in_a_later_segment_knows_whose_journal_it_is(tmp_path: Path) -> None:
    for number in (1, 2):
        journal = opened(tmp_path / "j")
        write(journal, number)
        journal.close()
    reader = JournalReader(tmp_path / "j")
    list(reader.read(Position(2, 10_000), ALL))
    assert (reader.venue, reader.recorder) == ("venue", "j")
    reader.close()


def test_a_segment_is_closed_by_size(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path / "j", "venue", JournalSettings(reserve_mb=0, segment_mb=1), ManualClock())
    for number in range(1, 6):
        write(journal, number, size=400_000)
    journal.close()
    assert segments(tmp_path / "j") == [1, 2]
    assert numbers(read(tmp_path / "j")) == [1, 2, 3, 4, 5]


# ---- who may write ------------------------------------------------------------------------------------


def test_a_second_process_is_refused_with_a_sentence_that_names_the_first(tmp_path: Path) -> None:
    journal = opened(tmp_path / "j")
    with pytest.raises(ConfigError, match=f"j is already recording .process {os.getpid()} holds"):
        opened(tmp_path / "j")
    write(journal, 1)
    journal.close()
    opened(tmp_path / "j").close()


def test_a_folder_that_cannot_be_written_is_an_error_for_the_user(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(ConfigError, match="cannot write the journal folder"):
        opened(tmp_path / "file")
    with pytest.raises(ConfigError, match="cannot write the journal folder"):
        opened(tmp_path / "file" / "below")


def test_a_journal_keeps_its_identity_also_when_the_file_that_names_it_is_gone(tmp_path: Path) -> None:
    journal = opened(tmp_path / "j")
    write(journal, 1)
    journal.close()
    for damage in (None, "", "x" * 32):
        path = tmp_path / "j" / "journal.id"
        path.unlink()
        if damage is not None:
            path.write_text(damage)
        again = opened(tmp_path / "j")
        assert again.journal_id == journal.journal_id  # else all of it would be loaded a second time
        again.close()
        assert JournalReader(tmp_path / "j").journal_id == journal.journal_id


def test_a_reader_reports_a_folder_without_a_journal(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="no journal"):
        JournalReader(tmp_path)


# ---- a disk that fails --------------------------------------------------------------------------------


def test_a_sync_that_fails_ends_the_trust_in_the_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = opened(tmp_path / "j")
    write(journal, 1)

    def fails(_file: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(recorder.journal.writer, "_sync_data", fails)
    with pytest.raises(JournalError, match=r"cannot sync the journal .*Input/output error") as caught:
        journal.sync()
    assert not isinstance(caught.value, JournalFull)
    monkeypatch.undo()
    journal.close()


def test_below_the_reserve_nothing_is_written(tmp_path: Path) -> None:
    journal = opened(tmp_path / "j", JournalSettings(reserve_mb=1 << 40))
    with pytest.raises(JournalFull, match="less than"):
        journal.next_position(lambda: ([], []))
    assert segments(tmp_path / "j") == []
    journal.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", place], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"cannot mount here: {mounted.stderr.decode().strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


def fill(path: Path) -> None:
    """Write a file until there is no space."""
    with open(path, "wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))


def test_a_full_disk_costs_whole_blocks_and_writing_resumes_with_space(small_disk: Path) -> None:
    journal = Journal.open(small_disk / "j", "venue", SETTINGS, clock := ManualClock())
    for number in (1, 2, 3):
        write(journal, number, size=50_000)
    ballast = small_disk / "ballast"
    fill(ballast)
    before = journal.position
    with pytest.raises(JournalFull):
        write(journal, 4, size=200_000)
    assert journal.position == before
    assert segment_path(small_disk / "j", 1).stat().st_size == before.offset
    with pytest.raises(JournalFull):  # and is not tried again at once
        journal.next_position(lambda: ([], []))
    ballast.unlink()
    clock.advance(1)
    write(journal, 5, size=1000)
    write(journal, 6, size=1000)
    journal.close()
    items = read(small_disk / "j")
    assert numbers(items) == [1, 2, 3, 5, 6]
    assert not any(isinstance(item, Damaged) for item in items)


def test_a_segment_that_finds_no_space_is_begun_later(small_disk: Path) -> None:
    journal = opened(small_disk / "j")
    clock = ManualClock()
    journal._clock = clock
    fill(small_disk / "ballast")
    with pytest.raises(JournalFull):
        journal.next_position(lambda: ([checkpoint(number) for number in range(10_000)], []))
    assert segments(small_disk / "j") == []
    (small_disk / "ballast").unlink()
    clock.advance(1)
    write(journal, 1)
    journal.close()
    assert numbers(read(small_disk / "j")) == [1]
