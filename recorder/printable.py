"""Text of others, made safe to print: what a terminal or a log would obey is shown as an escape instead.

A venue, a file or a database may send any character: ESC and the C1 controls move the cursor and rename the window,
U+202E turns the reading direction, NEL and U+2028 begin a line that a reader takes for ours. Everything that Tapedeck
prints or logs goes through one of these functions.
"""

import re
from urllib.parse import urlsplit

MASK = "**********"
_SECRET = re.compile(r"key|token|secret|pass|sign|auth|credential", re.IGNORECASE)
_JSON_UNSAFE = re.compile(r"[^\n -~]+")


def printable(text: str) -> str:
    r"""Return a text in which every character that does not print is an escape, such as \x1b or \u202e.

    Those are the controls, format characters, surrogates, line and paragraph separators, and spaces other than the
    usual one: what `str.isprintable` refuses. The result is one line.
    """
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def one_line(text: str) -> str:
    """Return a message as one printable line: the lines that libraries such as libpq write are joined by a blank."""
    return printable(" ".join(line.strip() for line in text.split("\n") if line.strip()))


def printable_json(encoded: bytes) -> str:
    r"""Return a JSON document of the same value that is safe on a terminal: what does not print is \uXXXX.

    Only strings can hold such characters, since JSON itself is ASCII.
    """
    text = encoded.decode("utf-8", "backslashreplace")
    return text if text.isascii() and "\x7f" not in text else _JSON_UNSAFE.sub(_escaped, text)


def secret_name(name: str) -> bool:
    """Return whether the name of a parameter or an option says that its value is a secret."""
    return _SECRET.search(name) is not None


def masked_url(url: str) -> str:
    """Return an address without the secrets that it may carry: its login, and parameters named like a key."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return MASK
    host = parts.netloc.rpartition("@")[2]
    query = "&".join(
        f"{name}={MASK}" if equals and secret_name(name) else f"{name}{equals}{value}"
        for name, equals, value in (part.partition("=") for part in parts.query.split("&"))
    )
    if host == parts.netloc and query == parts.query:
        return url
    return parts._replace(netloc=host if host == parts.netloc else f"{MASK}@{host}", query=query).geturl()


def _escaped(found: re.Match[str]) -> str:
    return "".join(one if one.isprintable() else _json_escape(one) for one in found[0])


def _json_escape(character: str) -> str:
    """Return a character as JSON writes it: one UTF-16 unit, or a pair of surrogates."""
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{int.from_bytes(units[at : at + 2], 'big'):04x}" for at in range(0, len(units), 2))
