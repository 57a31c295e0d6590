"""Identifiers of the simulated markets: each contains its market, so that no table of all markets is needed.

A market is a slot of the world and a generation of that slot. The identifiers look like the venue's: tokens of v1 are
numbers of up to 78 digits and conditions 64 hexadecimal digits; conditions of v2 are 31 bytes that begin with 0x01, or
0x02 for negRisk, and a position is the condition followed by the index of its outcome.
"""

import hashlib
from typing import Literal, NamedTuple

Version = Literal["v1", "v2"]

MAX_SLOTS = 16_384
FIRST_S = 1_577_836_800  # 2020-01-01: markets are numbered by the second of their creation from here
_MASK = 0x9E3779B97F4A7C15
_CONDITION = 0xFF  # in the place of the outcome
_HEX = 64
_DIGITS = 80


class Key(NamedTuple):
    """A market: the generation of a slot."""

    slot: int
    generation: int


class Found(NamedTuple):
    """The market that an identifier names."""

    key: Key
    version: Version
    outcome: int


def digest(seed: int, *words: object) -> bytes:
    """Return 32 bytes that follow from a seed and some words."""
    return hashlib.sha256(":".join(map(str, (seed, *words))).encode()).digest()


def gamma_id(slot: int, created_s: int) -> int:
    """Return the number of a market at Gamma. It rises with the time of creation."""
    return (created_s - FIRST_S) * MAX_SLOTS + slot


def slot_of(number: int) -> tuple[int, int]:
    """Return the slot and the second of creation of a number at Gamma."""
    return number % MAX_SLOTS, number // MAX_SLOTS + FIRST_S


def _code(key: Key, outcome: int) -> bytes:
    return ((key.slot << 40 | key.generation << 8 | outcome) ^ _MASK).to_bytes(8, "big")


def _read(code: bytes) -> tuple[Key, int]:
    value = int.from_bytes(code, "big") ^ _MASK
    return Key(value >> 40, value >> 8 & 0xFFFFFFFF), value & 0xFF


def condition_v1(seed: int, key: Key) -> str:
    """Return the condition id of a v1 market."""
    return "0x" + (digest(seed, "v1", *key, _CONDITION)[:24] + _code(key, _CONDITION)).hex()


def token_v1(seed: int, key: Key, outcome: int) -> str:
    """Return the CLOB token of an outcome of a v1 market."""
    return str(int.from_bytes(digest(seed, "v1", *key, outcome)[:24] + _code(key, outcome), "big"))


def _bytes_v2(seed: int, key: Key, neg_risk: bool) -> bytes:
    return bytes((2 if neg_risk else 1,)) + digest(seed, "v2", *key)[:22] + _code(key, _CONDITION)


def condition_v2(seed: int, key: Key, neg_risk: bool) -> str:
    """Return the condition id of a v2 market in its short form of 62 hexadecimal digits, as Gamma shows it."""
    return "0x" + _bytes_v2(seed, key, neg_risk).hex()


def position_v2(seed: int, key: Key, neg_risk: bool, outcome: int) -> str:
    """Return the position id of an outcome of a v2 market."""
    return str(int.from_bytes(_bytes_v2(seed, key, neg_risk) + bytes((outcome,)), "big"))


def padded(condition: str) -> str:
    """Return a condition id in the long form that CLOB and Data API use."""
    return condition.ljust(_HEX + 2, "0")


def find_token(seed: int, text: str) -> Found | None:
    """Return the market and outcome of a token or position; None where it is not one of this world."""
    if not text.isascii() or not text.isdigit() or len(text) > _DIGITS:
        return None
    value = int(text)
    if value >= 1 << 256:
        return None
    raw = value.to_bytes(32, "big")
    key, outcome = _read(raw[24:])
    if outcome < 2 and raw[:24] == digest(seed, "v1", *key, outcome)[:24]:
        return Found(key, "v1", outcome)
    key, kind = _read(raw[23:31])
    if raw[0] in (1, 2) and kind == _CONDITION and raw[31] < 2 and raw[1:23] == digest(seed, "v2", *key)[:22]:
        return Found(key, "v2", raw[31])
    return None


def find_condition(seed: int, text: str, *, short: bool = True) -> Found | None:
    """Return the market of a condition id; None where it is not one of this world.

    Args:
        seed: Of the world.
        text: The condition id.
        short: Whether the form of 62 digits is accepted.
    """
    if not text.startswith("0x") or len(text) not in ((_HEX, _HEX + 2) if short else (_HEX + 2,)):
        return None
    try:
        raw = bytes.fromhex(padded(text)[2:])
    except ValueError:
        return None
    key, kind = _read(raw[24:])
    if kind == _CONDITION and raw[:24] == digest(seed, "v1", *key, _CONDITION)[:24]:
        return Found(key, "v1", 0)
    key, kind = _read(raw[23:31])
    if raw[0] in (1, 2) and raw[31] == 0 and kind == _CONDITION and raw[1:23] == digest(seed, "v2", *key)[:22]:
        return Found(key, "v2", 0)
    return None
