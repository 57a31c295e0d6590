"""The error tree. Each branch is named for what the caller does about it.

RecorderError
  ConfigError              tell the user what is wrong and where, exit 2: a retry cannot help
  HandoverFailed           end the process: what records next is decided by the file of its slots
  DecodeError              quarantine the frame, count it, go on
    NotAFeedFrame          a file of frames holds something that no feed sends (a REST answer): count it separately
  LinkError                back off and reconnect
    ConnectFailed          no session was opened (DNS, TCP, TLS, handshake)
    Silent                 the session is open but nothing arrives
    Closed                 the other side, or the network, ended the session
  RestError                a venue's REST gave nothing usable: go on with what is known, try again later
    RestUnavailable        no answer, or the venue asks us to wait; the retries are used up
      RestCircuitOpen      nothing was sent: the service failed too often, and the next trial is later
    RestRefused            the venue refuses this request: the same request cannot succeed
    RestInvalidResponse    an answer that is too large, not JSON, or not of the documented shape
  StoreError               keep journalling, retry the batch
    StoreUnavailable       the database cannot be reached or cannot take work now
      NoAnswer             it accepted the work and gave no answer in time: a lock, a hanging server, a slow disk
    RowRejected            one row can never be stored: quarantine it, go on
  JournalError             stop the process: a recorder without a journal is worse than none
    JournalFull            the disk is at its reserve: drop frames, declare the gaps, go on
"""

import difflib
from collections.abc import Iterable

from recorder.events import Channel


class RecorderError(Exception):
    """Root of everything this project raises on purpose."""


class ConfigError(RecorderError):
    """A setting, argument or file of the user is wrong; one sentence that says what to do."""


class HandoverFailed(RecorderError):
    """A process cannot take over from another, or cannot hand over to it."""


class DecodeError(RecorderError):
    """A frame or a row could not be understood. The raw frame is in the journal.

    Attributes:
        symbol: The symbol of the data, where the decoder knows it and the frame names only a number or an id.
        channel: The channel of the data, the same.
        no_data: Whether it is a complete message of a kind that the venue added: no stream lost anything.
    """

    def __init__(
        self, message: str, symbol: str | None = None, channel: Channel | None = None, *, no_data: bool = False
    ) -> None:
        super().__init__(message)
        self.symbol = symbol
        self.channel = channel
        self.no_data = no_data


class NotAFeedFrame(DecodeError):
    """The input is complete, but no feed sends it: a REST answer in a file of frames."""


class LinkError(RecorderError):
    """A connection ended or was never opened."""


class ConnectFailed(LinkError):
    """No session was opened."""


class Silent(LinkError):
    """The session is open, but nothing arrives.

    Attributes:
        unanswered: Whether not even a ping was answered.
    """

    def __init__(self, message: str, *, unanswered: bool = False) -> None:
        super().__init__(message)
        self.unanswered = unanswered


class Closed(LinkError):
    """The session has ended."""


class RestError(RecorderError):
    """A venue's REST gave nothing usable.

    Attributes:
        request_id: The request as the log names it; empty where no request was made.
        attempts: How often it was attempted.
        status: Of the answer; 0 where there was none.
    """

    request_id: str = ""
    attempts: int = 0
    status: int = 0


class RestUnavailable(RestError):
    """No answer came, or only answers that ask us to wait."""


class RestCircuitOpen(RestUnavailable):
    """The circuit breaker of the service is open: nothing was sent."""


class RestRefused(RestError):
    """The venue refuses this request."""


class RestInvalidResponse(RestError):
    """An answer came that cannot be used."""


class StoreError(RecorderError):
    """The database did not take a batch."""


class StoreUnavailable(StoreError):
    """The database cannot be reached, or cannot take work now."""


class NoAnswer(StoreUnavailable):
    """The database gave no answer in time."""


class RowRejected(StoreError):
    """One row can never be stored as it is."""


class JournalError(RecorderError):
    """The journal cannot be trusted any more."""


class JournalFull(JournalError):
    """The disk holding the journal is at its reserve."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return "; did you mean X?" for the most similar known name, or a list of all names."""
    names = list(known)
    match = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if match:
        return f"; did you mean {match[0]}?"
    return f"; known are {', '.join(names)}" if names else ""
