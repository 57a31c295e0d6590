"""The two slots of a recorder, a and b: which of them records, and how one takes over from the other.

Each slot has a program under supervisord and a journal of its own, so that a new process can be ready before the old
one ends. One small file per recorder, `<home>/slots/<recorder>.json`, says which slot records. Both processes and
the command `tapedeck handover` change it under a lock, and each change is synced to the disk before anything follows
from it: whatever is killed, the file decides who records, and never two for ever.

    want       the command names the successor and a time limit
    ask        the successor is ready: it has received every stream for a while and kept all of it
    give       the recording process begins to stop; from here on only these two decide
    given      its last block is on disk
    accept     the successor records from now on: the moment of the change
    withdraw   the successor gives up, or the old process does, before `accept`: the old one records
"""

import contextlib
import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, get_args

import msgspec

from recorder.clock import Clock
from recorder.process import files, shared_file
from recorder.process.shared_file import SharedFile

Slot = Literal["a", "b"]
SLOTS: tuple[Slot, ...] = get_args(Slot)
Phase = Literal["", "asked", "giving", "given"]

HANDED_OVER = 3
"""Exit status of a recorder whose slot does not record; supervisord does not start it again."""

_LOCK_MAX_S = 5.0
_PAUSE_S = 0.02
_PAGE = 4096


class SlotState(msgspec.Struct, frozen=True, omit_defaults=True):
    """The content of the file."""

    active: Slot = "a"
    wanted: Slot | None = None  # the successor that may take over, until `until_s`
    until_s: float = 0.0  # unix seconds
    phase: Phase = ""
    token: str = ""  # of the successor's request
    starts: int = 0  # how often the recording process has started since the successor was wanted
    python: dict[str, str] = {}  # by slot: the interpreter to run with, where it is not that of supervisord

    def successor(self, now_s: float) -> Slot | None:
        """Return the slot that may take over now."""
        return self.wanted if self.wanted != self.active and now_s < self.until_s else None


def other(slot: Slot) -> Slot:
    """Return the other slot."""
    return "b" if slot == "a" else "a"


def program_of(recorder: str, slot: Slot) -> str:
    """Return the name of the program in a slot of a recorder, which is that of its journal, log and health file."""
    return recorder if slot == "a" else f"{recorder}-b"


def recorder_of(program: str) -> str:
    """Return the recorder to which the program of a slot belongs; any other program is its own."""
    return program.removesuffix("-b")


class Slots:
    """The file of one recorder."""

    def __init__(self, home: Path, recorder: str, clock: Clock) -> None:
        self.recorder = recorder
        self._path = home / "slots" / f"{recorder}.json"
        self._file = SharedFile(self._path, clock, "slots.not_usable")
        self._lock = threading.Lock()

    def read(self) -> SlotState:
        """Return the state; that of a recorder that was never handed over where there is no file, or a damaged one.

        A wrong answer costs a declared gap: the slot that starts continues from the newest journal.
        """
        try:
            file = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            return SlotState()
        try:
            _shared(file)
            return _decode(shared_file.read(file))
        except OSError:
            return SlotState()
        finally:
            os.close(file)

    # ---- the command ------------------------------------------------------------------------------------------

    def want(self, slot: Slot, until_s: float, python: str | None) -> bool:
        """Let a slot take over until a time; return whether no other handover is in its last phase.

        Args:
            slot: The successor.
            until_s: Unix seconds.
            python: The interpreter to run it with; None is that of supervisord.
        """

        def change(state: SlotState) -> SlotState | None:
            if state.phase in ("giving", "given"):
                return None
            pythons = {key: value for key, value in state.python.items() if key != slot}
            if python is not None:
                pythons[slot] = python
            return SlotState(state.active, slot, until_s, python=pythons)

        return self._change(change)

    def end(self) -> bool:
        """End a handover that has not reached its last phase; return whether none is left."""
        return self._change(lambda state: None if state.phase in ("giving", "given") else _settled(state, state.active))

    def activate(self, slot: Slot) -> None:
        """Let a slot record, whatever a handover that is going on has reached: its successor is dead."""
        self._change(lambda state: _settled(state, slot))

    def forget_pythons(self) -> None:
        """Run both slots with the interpreter of supervisord: it was started again."""
        self._change(lambda state: msgspec.structs.replace(state, python={}))

    # ---- the successor ----------------------------------------------------------------------------------------

    def ask(self, slot: Slot, token: str) -> bool:
        """Ask for the streams; return whether that is still wanted."""
        return self._change(
            lambda state: (
                msgspec.structs.replace(state, phase="asked", token=token)
                if state.successor(time.time()) == slot and state.phase in ("", "asked")
                else None
            )
        )

    def accept(self, slot: Slot, token: str) -> bool:
        """Record from now on; return False where the old process has withdrawn."""
        return self._change(
            lambda state: _settled(state, slot) if (state.phase, state.token) == ("given", token) else None
        )

    # ---- the process that records -----------------------------------------------------------------------------

    def give(self, token: str) -> bool:
        """Begin to stop; return False where the successor has withdrawn."""
        return self._move("asked", "giving", token)

    def given(self, token: str) -> bool:
        """Offer the streams: the last block is on disk; return False where the successor has withdrawn."""
        return self._move("giving", "given", token)

    def restarted(self) -> None:
        """Forget what an earlier process of this slot had begun to give; the successor may ask again."""
        self._change(
            lambda state: (
                msgspec.structs.replace(state, phase="", token="", starts=state.starts + 1)
                if state.phase or state.successor(time.time()) is not None
                else None
            )
        )

    # ---- both -------------------------------------------------------------------------------------------------

    def withdraw(self, token: str) -> bool:
        """End the attempt of this token; return False where it has ended already, by `accept` or otherwise."""
        return self._change(lambda state: _settled(state, state.active) if state.token == token else None)

    def _move(self, before: Phase, after: Phase, token: str) -> bool:
        return self._change(
            lambda state: (
                msgspec.structs.replace(state, phase=after) if (state.phase, state.token) == (before, token) else None
            )
        )

    def _change(self, change: Callable[[SlotState], SlotState | None]) -> bool:
        """Replace the state by what `change` returns, unless that is None; return whether it was replaced.

        Raises:
            OSError: the file cannot be used, or another process holds its lock for seconds.
        """
        with self._lock, self._locked() as file:
            after = change(_decode(shared_file.read(file)))
            if after is None:
                return False
            # One page of always the same length: a kill leaves the old state or the new.
            shared_file.write(file, msgspec.json.encode(after).ljust(_PAGE))
            os.fsync(file)
            files.sync_folder(self._path.parent)
            return True

    @contextlib.contextmanager
    def _locked(self) -> Iterator[int]:
        limit_s = time.monotonic() + _LOCK_MAX_S
        with contextlib.ExitStack() as stack:
            while True:
                try:
                    file = stack.enter_context(self._file.locked())
                    break
                except BlockingIOError:
                    if time.monotonic() > limit_s:
                        raise
                    time.sleep(_PAUSE_S)  # a lock of a file cannot be waited for with a time limit
            yield file


def _shared(file: int) -> None:
    """Lock a file for reading, so that no change of it is under way; a lock that is held for seconds is ignored."""
    limit_s = time.monotonic() + _LOCK_MAX_S
    while time.monotonic() < limit_s:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_PAUSE_S)  # as above
        else:
            return


def _settled(state: SlotState, active: Slot) -> SlotState:
    return SlotState(active, python=state.python)


def _decode(data: bytes) -> SlotState:
    try:
        return msgspec.json.decode(data, type=SlotState) if data else SlotState()
    except msgspec.MsgspecError:
        return SlotState()
