"""Commands in a pseudo-terminal: what a person sees in a window of a given width."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from collections.abc import Sequence

_STYLES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def in_terminal(
    command: Sequence[str], columns: int, environ: dict[str, str] | None = None
) -> tuple[int, list[str], bool]:
    """Run a command in a terminal of this width.

    Returns:
        (exit code, the lines shown, whether any style or colour was sent)
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    variables = {name: text for name, text in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
    process = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env={**variables, "TERM": "xterm", **(environ or {})}
    )
    os.close(theirs)
    shown = b""
    try:
        while chunk := os.read(ours, 65536):
            shown += chunk
    except OSError:  # Linux reports the end of the terminal's last user as an error
        pass
    finally:
        os.close(ours)
    text = shown.decode()
    return process.wait(60), _STYLES.sub("", text).splitlines(), _STYLES.search(text) is not None
