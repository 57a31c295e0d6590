"""The kinds of rounds: each does one thing to the programs, the venues, the journals or the database.

A round leaves the appliance running. What it costs is not its matter: the checker judges that.
"""

import shutil
import signal
from collections.abc import Callable
from pathlib import Path

from faults.oracle.lab import CHANNELS, SYMBOLS, Lab
from faults.oracle.venue import SPOILS

Round = Callable[[Lab], str]  # returns what was done, in a few words
KINDS: dict[str, Round] = {}


def kind(function: Round) -> Round:
    """Add a round to KINDS under its name."""
    KINDS[function.__name__] = function
    return function


def _run(lab: Lab, least: float = 0.2, most: float = 1.2) -> None:
    """Let everything run for a random time."""
    lab.pause(lab.rng.uniform(least, most))


# ---- kills, stops and pauses of the programs


@kind
def kill_a_recorder(lab: Lab) -> str:
    """Kill a recorder, sometimes before it is subscribed again, and start it."""
    program = lab.rng.choice(lab.recorders)
    for _ in range(times := lab.rng.choice([1, 1, 2])):
        lab.kill(program)
        _run(lab, 0, 0.5)
        lab.start(program)
        _run(lab)
    return f"{program}, {times} times"


@kind
def kill_the_writer(lab: Lab) -> str:
    """Kill the writer in its work."""
    for _ in range(times := lab.rng.choice([1, 2])):
        lab.kill("writer")
        lab.start("writer")
        _run(lab)
    return f"{times} times"


@kind
def kill_all_programs(lab: Lab) -> str:
    """Kill all programs at one moment."""
    for program in lab.programs:
        lab.kill(program)
    for program in lab.rng.sample(lab.programs, len(lab.programs)):
        lab.start(program)
    return "all"


@kind
def stop_a_program(lab: Lab) -> str:
    """Stop a program by SIGTERM and start it again."""
    program = lab.rng.choice(lab.programs)
    lab.stop(program)
    _run(lab, 0, 1)
    lab.start(program)
    return program


@kind
def freeze_a_program(lab: Lab) -> str:
    """Freeze a program by SIGSTOP for seconds; now and then it is killed while frozen."""
    program = lab.rng.choice(lab.programs)
    lab.signal(program, signal.SIGSTOP)
    _run(lab, 1, 4)
    if lab.rng.random() < 0.2:
        lab.kill(program)
        lab.start(program)
        return f"{program}, killed frozen"
    lab.signal(program, signal.SIGCONT)
    return program


@kind
def hand_over(lab: Lab) -> str:
    """Ask a recorder by SIGHUP to move its streams to new connections."""
    program = lab.rng.choice(lab.recorders)
    lab.wait_subscribed(program.partition("-")[2])
    lab.signal(program, signal.SIGHUP)
    _run(lab, 0.5, 2)
    return program


# ---- the database as a server


@kind
def kill_the_postmaster(lab: Lab) -> str:
    """Kill the server process of Postgres, and start it again."""
    lab.server.kill()
    _run(lab, 0, 1)
    lab.server.start()
    return "killed and started"


@kind
def end_backends(lab: Lab) -> str:
    """End all connections to the database, a few times."""
    for _ in range(times := lab.rng.randrange(1, 5)):
        lab.end_backends()
        _run(lab, 0, 0.3)
    return f"{times} times"


# ---- the venues


def _venue(lab: Lab) -> str:
    name = lab.rng.choice(list(SYMBOLS))
    lab.wait_subscribed(name)
    return name


@kind
def reset_connections(lab: Lab) -> str:
    """End the connections of a venue with RST."""
    name = _venue(lab)
    lab.fakes.do(name, lambda venue: venue.reset_all())
    return name


@kind
def close_connections(lab: Lab) -> str:
    """End the connections of a venue with a close frame."""
    name = _venue(lab)
    lab.fakes.do(name, lambda venue: venue.close_all())
    return name


@kind
def half_open_connections(lab: Lab) -> str:
    """Let a venue fall silent without an end of its connections."""
    name = _venue(lab)
    lab.fakes.do(name, lambda venue: venue.half_open_all())
    _run(lab, 0.5, 2)
    return name


@kind
def lose_messages(lab: Lab) -> str:
    """Let a venue lose messages, which the ids of trades, the ids or checksums of books must show."""
    name = _venue(lab)
    channels = [lab.rng.choice(CHANNELS) for _ in range(4)]
    for channel in channels:
        lab.spoil(name, "lose", channel)
        _run(lab, 0, 0.5)
    return f"{name}: {', '.join(channels)}"


@kind
def stamp_trades_ahead(lab: Lab) -> str:
    """Stamp one trade 50 minutes ahead; then trades get lost, and the connections end."""
    name = _venue(lab)
    lab.spoil(name, "ahead", "trade")
    _run(lab)
    for _ in range(3):
        lab.spoil(name, "lose", "trade")
        _run(lab, 0, 0.5)
    lab.fakes.do(name, lambda venue: venue.reset_all())
    return name


@kind
def send_unreadable_frames(lab: Lab) -> str:
    """Send a message of each channel that cannot be decoded."""
    name = _venue(lab)
    done = []
    for channel in lab.rng.sample(CHANNELS, 3):
        how = lab.rng.choice(SPOILS)
        lab.spoil(name, how, channel)
        done.append(f"{channel} {how}")
    return f"{name}: {', '.join(done)}"


@kind
def send_refused_rows(lab: Lab) -> str:
    """Send a trade of size 0, which no table takes."""
    name = _venue(lab)
    lab.spoil(name, "empty", "trade")
    return name


# ---- journals

_FORGOTTEN = 2000  # a journal or database from before does not know what was stored since, and may declare all of it


def _border(lab: Lab, segment: Path) -> int:
    """Return an offset between two blocks: the size of a segment in a moment of silence."""
    lab.fakes.run_market(False)
    sizes = [-1, -2, -3]

    def quiet() -> bool:
        sizes.append(segment.stat().st_size)
        return len(set(sizes[-3:])) == 1

    try:
        lab.wait("the journal is quiet for a moment", quiet)
    finally:
        lab.fakes.run_market(True)
    return sizes[-1]


def _segments(lab: Lab, recorder: str) -> list[Path]:
    return sorted(lab.journal(recorder).glob("*.tape"))


@kind
def remove_a_segment(lab: Lab) -> str:
    """Remove a segment that is not loaded: the writer's own, or one in the middle."""
    recorder = lab.rng.choice(lab.recorders)
    venue = recorder.partition("-")[2]
    lab.stop("writer")
    known = len(_segments(lab, recorder))
    for _ in range(3):
        lab.restart(recorder)
        lab.wait_subscribed(venue)
        _run(lab)
    first = lab.rng.choice([known - 1, known, known + 1])
    removed = _segments(lab, recorder)[first]
    removed.unlink()
    lab.start("writer")
    return f"{recorder} {removed.name}, {'in the middle' if first >= known else 'at the position'}"


@kind
def cut_between_blocks(lab: Lab) -> str:
    """Cut the end of a segment exactly between two blocks, before it is loaded."""
    recorder = lab.rng.choice(lab.recorders)
    lab.wait_subscribed(recorder.partition("-")[2])
    lab.stop("writer")
    segment = _segments(lab, recorder)[-1]
    border = _border(lab, segment)
    _run(lab)
    if closed := lab.rng.random() < 0.7:
        lab.restart(recorder)  # so that the segment is closed, and the recorder knows all of it
        lab.wait_subscribed(recorder.partition("-")[2])
        _run(lab)
    else:
        lab.stop(recorder)
    size = segment.stat().st_size
    with open(segment, "rb+") as file:
        file.truncate(border)
    if not closed:
        lab.start(recorder)
    lab.start("writer")
    return f"{recorder} {segment.name}: {size - border} bytes behind {border}, {'closed' if closed else 'newest'}"


@kind
def repeat_a_stretch(lab: Lab) -> str:
    """Append blocks of a segment to it once more."""
    recorder = lab.rng.choice(lab.recorders)
    lab.wait_subscribed(recorder.partition("-")[2])
    if stopped := lab.rng.random() < 0.5:
        lab.stop("writer")
    segment = _segments(lab, recorder)[-1]
    start = _border(lab, segment)
    _run(lab)
    end = _border(lab, segment)
    lab.stop(recorder)
    with open(segment, "rb+") as file:
        file.seek(start)
        stretch = file.read(end - start)
        file.seek(0, 2)
        file.write(stretch)
    lab.start(recorder)
    if stopped:
        lab.start("writer")
    return f"{recorder} {segment.name}: {len(stretch)} bytes, writer {'stopped' if stopped else 'running'}"


@kind
def restore_a_journal(lab: Lab) -> str:
    """Put an older copy of a journal in its place, as a restored home does."""
    lab.covered = _FORGOTTEN
    recorder = lab.rng.choice(lab.recorders)
    folder = lab.journal(recorder)
    copy = lab.home / "older"
    lab.stop(recorder)
    shutil.copytree(folder, copy)
    for _ in range(lab.rng.choice([1, 2])):
        lab.start(recorder)
        lab.wait_subscribed(recorder.partition("-")[2])
        _run(lab)
        lab.stop(recorder)
    shutil.rmtree(folder)
    copy.rename(folder)
    lab.start(recorder)
    return recorder


@kind
def restore_the_home(lab: Lab) -> str:
    """Put an older copy of all journals in their place."""
    lab.covered = _FORGOTTEN
    for recorder in lab.recorders:
        lab.stop(recorder)
    copy = lab.home / "older"
    shutil.copytree(lab.home / "journal", copy)
    for recorder in lab.recorders:
        lab.start(recorder)
    lab.wait_subscribed()
    _run(lab, 0.5, 2)
    for program in lab.programs:
        lab.stop(program)
    shutil.rmtree(lab.home / "journal")
    copy.rename(lab.home / "journal")
    for program in lab.programs:
        lab.start(program)
    return "all journals"


@kind
def remove_tape_files(lab: Lab) -> str:
    """Remove all segments of a journal whose identity stays."""
    lab.covered = _FORGOTTEN
    recorder = lab.rng.choice(lab.recorders)
    lab.stop(recorder)
    for segment in _segments(lab, recorder):
        segment.unlink()
    lab.start(recorder)
    return recorder


@kind
def remove_a_journal(lab: Lab) -> str:
    """Remove the folder of a journal."""
    lab.covered = _FORGOTTEN
    recorder = lab.rng.choice(lab.recorders)
    if running := lab.rng.random() < 0.5:
        shutil.rmtree(lab.journal(recorder))
        lab.kill(recorder)
    else:
        lab.stop(recorder)
        shutil.rmtree(lab.journal(recorder))
    lab.start(recorder)
    return f"{recorder}, {'running' if running else 'stopped'}"


@kind
def copy_the_home(lab: Lab) -> str:
    """Let a copy of the home work on a second machine for a while, then the first again."""
    lab.covered = _FORGOTTEN
    recorder = lab.rng.choice(lab.recorders)
    lab.stop(recorder)
    lab.stop("writer")
    second = lab.copy_home(lab.home.parent / "second")
    lab.start(recorder, second, "second recorder")
    lab.start("writer", second, "second writer")
    lab.wait_subscribed(recorder.partition("-")[2])
    _run(lab, 2, 4)
    lab.stop("second recorder")
    _run(lab, 1, 2)
    lab.stop("second writer")
    lab.start(recorder)
    lab.start("writer")
    lab.wait_subscribed(recorder.partition("-")[2])
    shutil.rmtree(second)
    return recorder


# ---- databases


def _older_copy(lab: Lab) -> str:
    """Copy the database, and let more be stored."""
    lab.covered = _FORGOTTEN
    copy = f"{lab.name}_older"
    lab.stop("writer")
    lab.copy_database(copy)
    lab.start("writer")
    _run(lab, 1, 2)
    return copy


@kind
def restore_the_database(lab: Lab) -> str:
    """Put an older copy of the database in its place; the journals still have everything since."""
    copy = _older_copy(lab)
    if stopped := lab.rng.random() < 0.7:
        lab.stop("writer")
    lab.restore_database(copy)
    if stopped:
        lab.start("writer")
    return "writer stopped" if stopped else "writer running"


@kind
def restore_the_database_without_journals(lab: Lab) -> str:
    """Put an older copy of the database in its place, whose segments retention has removed meanwhile."""
    copy = _older_copy(lab)
    recorder = lab.rng.choice(lab.recorders)
    older = _segments(lab, recorder)
    for _ in range(2):
        lab.restart(recorder)
        lab.wait_subscribed(recorder.partition("-")[2])
        _run(lab)
    lab.stop("writer")
    for segment in older:
        segment.unlink()
    lab.restore_database(copy)
    lab.start("writer")
    return f"{recorder}: {len(older)} segments removed"


@kind
def make_the_database_again(lab: Lab) -> str:
    """Drop the database under the running programs and create an empty one."""
    lab.drop_database()
    _run(lab, 0, 1)
    lab.create_database()
    return "dropped and created"
