"""The error tree. Each branch is named for what the caller does about it.

RecorderError
  ConfigError        tell the person what and where, exit 2: a retry cannot help
  DecodeError        quarantine the frame, count it, go on
    NoFrame            what no feed sends stands in a file of frames (an answer of REST): count it apart
  LinkError          back off and reconnect
    ConnectFailed      no session came to be (DNS, TCP, TLS, handshake)
    Silent             the session is open but nothing arrives
    Closed             the other side, or the network, ended the session
  RestError          a venue's REST gave nothing usable: go on with what is known, ask again later
    RestUnavailable    no answer, or the venue asks us to wait; the retries are used up
    RestRefused        the venue says no to this request: asking the same again cannot help
    RestGarbled        an answer that is too large, no JSON, or not of the shape its page describes
  StoreError         keep journalling, retry the batch
    StoreUnavailable   the database cannot be reached or cannot take work now
    RowRejected        one row can never be stored: quarantine it, go on
  JournalError       stop the process: recording blind is worse than not recording
    JournalFull        the disk is at its reserve: shed and declare, go on
"""


class RecorderError(Exception):
    """Root of everything this project raises on purpose."""


class ConfigError(RecorderError):
    """A setting, argument or file of the user is wrong; one sentence that says what to do."""


class DecodeError(RecorderError):
    """A frame or a row could not be understood. The raw frame is in the journal.

    Attributes:
        symbol: Whose data it was, where the session knows and the frame names only a number or an id.
    """

    def __init__(self, message: str, symbol: str | None = None) -> None:
        super().__init__(message)
        self.symbol = symbol


class NoFrame(DecodeError):
    """What was given is whole, but no feed sends it: an answer of REST in a file of frames."""


class LinkError(RecorderError):
    """A connection is gone or never came to be."""


class ConnectFailed(LinkError):
    """No session came to be."""


class Silent(LinkError):
    """The session is open, but nothing arrives."""


class Closed(LinkError):
    """The session has ended."""


class RestError(RecorderError):
    """A venue's REST gave nothing usable."""


class RestUnavailable(RestError):
    """No answer came, or only answers that ask to come again later."""


class RestRefused(RestError):
    """The venue says no to this request."""


class RestGarbled(RestError):
    """An answer came, and is of no use."""


class StoreError(RecorderError):
    """The database did not take a batch."""


class StoreUnavailable(StoreError):
    """The database cannot be reached, or cannot take work now."""


class RowRejected(StoreError):
    """One row can never be stored as it is."""


class JournalError(RecorderError):
    """The journal cannot be trusted any more."""


class JournalFull(JournalError):
    """The disk holding the journal is at its reserve."""
