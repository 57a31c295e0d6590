"""Watches over the writer's calls to Postgres: since when there is no answer, why, and when to give up on a call."""

import threading
import time
from collections.abc import Callable

import psycopg2

from recorder.errors import ConfigError, StoreUnavailable
from recorder.process.log import get_logger
from recorder.store.database import connect
from recorder.store.lifeline import Lifeline

HANGING_S = 5.0
"""Without an answer for this long the database is not up, whatever the last answer was."""
_CHECK_S = 0.5
_ASK_S = 2.0  # limit of the question why there is no answer
_ASK_EVERY_S = 5.0

_WHY = """
SELECT a.state, a.wait_event_type, a.wait_event, b.pid, b.usename, b.application_name, b.state,
       extract(epoch FROM clock_timestamp() - b.xact_start)::bigint
  FROM pg_stat_activity a
  LEFT JOIN pg_stat_activity b ON b.pid = ANY (pg_blocking_pids(a.pid))
 WHERE a.pid = %s ORDER BY b.xact_start NULLS LAST LIMIT 1"""

_log = get_logger(__name__)


class Attempt:
    """The present attempt to do something at Postgres, seen by the thread that waits and by those that report.

    It goes on with the next call where a call ended without an answer, so that its age is that of the silence.
    """

    def __init__(self) -> None:
        self.reason = ""  # why there is no answer, as far as it is known
        self._since_s: float | None = None
        self._call_s: float | None = None
        self.given_up = False  # whether the present call was ended by us

    def begin(self) -> None:
        """Note that a call begins."""
        self._call_s = time.monotonic()
        self.given_up = False
        if self._since_s is None:
            self._since_s = self._call_s

    def answered(self) -> None:
        """Note that Postgres answered, be it with an error that says what is wrong."""
        self._since_s, self._call_s, self.reason = None, None, ""

    def alive(self) -> None:
        """Note that Postgres answers, although the call goes on: a part of it is done, or it waits for us."""
        self._since_s = time.monotonic()

    def timed_out(self, reason: str) -> None:
        """Note that the call ended without an answer."""
        self._call_s = None
        self.reason = self.reason or reason

    @property
    def silent_s(self) -> float:
        """Seconds without an answer; 0 while nothing is asked."""
        since_s = self._since_s
        return 0.0 if since_s is None else time.monotonic() - since_s

    @property
    def call_s(self) -> float:
        """Age of the present call; 0 where none waits for its answer."""
        call_s = self._call_s
        return 0.0 if call_s is None else time.monotonic() - call_s

    def sentence(self) -> str | None:
        """Return for a person since when and why there is no answer; None while all is well."""
        silent_s = self.silent_s
        if silent_s < HANGING_S:
            return None
        return f"Postgres has not answered for {silent_s:.0f} s{f': {self.reason}' if self.reason else ''}"


def watching(
    attempt: Attempt, lifeline: Lifeline, url: Callable[[], str], limit_s: Callable[[], float]
) -> Callable[[threading.Event], None]:
    """Return a part that finds out why there is no answer, and ends a call that will never have one.

    Args:
        attempt: Of the thread that loads.
        lifeline: Of its connection.
        url: Returns the address of the database.
        limit_s: Returns the age at which a call is ended; the limit of a statement in the server is lower.
    """

    def body(stop: threading.Event) -> None:
        asked_s = float("-inf")
        while not stop.wait(_CHECK_S):
            call_s = attempt.call_s
            if call_s < HANGING_S / 2:
                continue
            if time.monotonic() - asked_s >= _ASK_EVERY_S:
                reason = why_no_answer(url, lifeline.backend)
                asked_s = time.monotonic()
                if reason is None:
                    attempt.alive()
                elif attempt.call_s > call_s:  # still the same call
                    attempt.reason = reason
                    if reason:
                        _log.warning("database.silent", silence_s=round(attempt.silent_s, 1), reason=reason)
            if attempt.call_s > limit_s():
                attempt.given_up = True
                lifeline.cut()
                _log.warning("database.cut", call_s=round(call_s, 1), action="connecting again")

    return body


def why_no_answer(url: Callable[[], str], backend: int) -> str | None:
    """Return what a server process waits for, asked on another connection; None where it waits for us."""
    try:
        # No role is assumed: the session that waits belongs to this login, which may see what it waits for.
        connection = connect(url(), application_name="writer-watch", statement_timeout_s=_ASK_S)
    except StoreUnavailable as error:
        return f"it accepts no connection either ({error})"
    except ConfigError:
        return ""  # at the first start the login is being made
    try:
        with connection.cursor() as cursor:
            cursor.execute(_WHY, (backend,))
            row = cursor.fetchone()
    except psycopg2.Error as error:
        return f"it answers no other question either ({str(error).strip()})"
    finally:
        connection.close()
    if row is None:
        return "its process for this connection is gone"
    state, kind, event, pid, login, program, blocker_state, seconds = row
    if kind == "Lock":
        held = "" if pid is None else f" held by pid {pid} (login {login}, program {program or 'unnamed'}"
        if held:
            held += ")" if seconds is None else f", {blocker_state} for {seconds} s)"
        return f"waits for a lock{held}"
    if event == "ClientRead":
        return None
    if kind is not None:
        return f"waits for {kind} {event}"
    return f"its process {backend} is {state or 'busy'} and reports no wait"
