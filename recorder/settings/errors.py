"""Plain sentences about wrong values of settings and of options."""

from collections.abc import Callable, Mapping

from pydantic_core import ErrorDetails

from recorder.printable import masked_url

WEBSOCKET_ADDRESS = r"^wss?://"
HTTP_ADDRESS = r"^https?://"
DATABASE_NAME = r"^[A-Za-z_][A-Za-z0-9_-]{0,62}$"

_LONGEST = 60  # characters of a value that are repeated in a message
_ALTERNATIVES = frozenset({"bool", "int", "float", "str"})  # how pydantic names the members of a union in a path

_PATTERNS = {
    WEBSOCKET_ADDRESS: "does not begin with ws:// or wss://",
    HTTP_ADDRESS: "does not begin with http:// or https://",
    DATABASE_NAME: "is not a name of letters, digits, _ and -, at most 63, with a letter or _ first",
}

_KINDS = {
    "int": "is not a whole number",
    "float": "is not a number",
    "finite": "is not a finite number",
    "bool": "is neither true nor false",
    "string": "is not text",
    "path": "is not a path",
    "dict": "is not a table of settings",
    "model": "is not a table of settings",
    "tuple": "is not a list",
}

_LIMITS: Mapping[str, Callable[[Mapping[str, object]], str]] = {
    "greater_than_equal": lambda limits: f"is too small; the least is {_number(limits['ge'])}",
    "greater_than": lambda limits: f"is too small; it must be above {_number(limits['gt'])}",
    "less_than_equal": lambda limits: f"is too large; the most is {_number(limits['le'])}",
    "less_than": lambda limits: f"is too large; it must be below {_number(limits['lt'])}",
    "int_parsing_size": lambda _limits: "has too many digits",
    "literal_error": lambda limits: f"is not one of {_listed(str(limits['expected']))}",
    "string_pattern_mismatch": lambda limits: _PATTERNS[str(limits["pattern"])],
}


def reason(fault: ErrorDetails, *, secret: bool) -> str:
    """Return what is wrong with a value, such as "'abc' is not a whole number".

    Args:
        fault: As pydantic reports it.
        secret: Do not repeat the value.
    """
    kind, value = fault["type"], fault["input"]
    named = _named(value, secret=secret)
    if fault["loc"][-1:] and fault["loc"][-1] in _ALTERNATIVES:
        return f"{named} is neither text, a number, true nor false"
    if kind in _LIMITS:
        if str(value).strip().lower() == "nan":  # compares false with every limit
            return f"{named} {_KINDS['float']}"
        return f"{named} {_LIMITS[kind](fault.get('ctx', {}))}"
    if kind.partition("_")[0] in _KINDS:
        return f"{named} {_KINDS[kind.partition('_')[0]]}"
    message = fault["msg"].removeprefix("Value error, ").removesuffix(".")
    return f"{message[:1].lower()}{message[1:]}"


def _named(value: object, *, secret: bool) -> str:
    """Return a value as a message repeats it. Tables and lists are not repeated, because they may hold secrets."""
    if secret:
        return "the value (not shown)"
    match value:
        case bool():
            return str(value).lower()
        case int() | float():
            return str(value)
        case str():
            text = masked_url(value) if "://" in value else value
            return repr(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}...")
        case dict():
            return "a table"
        case list() | tuple():
            return "a list"
    return f"a value of the type {type(value).__name__}"


def _number(limit: object) -> str:
    return f"{limit:g}" if isinstance(limit, float) else str(limit)


def _listed(expected: str) -> str:
    """Return "a, b, c" for pydantic's "'a', 'b' or 'c'"."""
    return expected.replace(" or ", ", ").replace("'", "")
