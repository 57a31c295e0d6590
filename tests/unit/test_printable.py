"""What others say is shown and never obeyed."""

import json
import sys
import unicodedata

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.printable import MASK, masked_url, one_line, printable, printable_json

OBEYED = ("Cc", "Cf", "Cs", "Zl", "Zp")
HOSTILE = "[/x]\x1b]0;owned\x07\x1b[2J\u202egnp\u009b1m\x85\u2028\u2066\r\b\x7f\ud800\U000e0001"


def obeyed(text: str) -> list[str]:
    return [one for one in text if unicodedata.category(one) in OBEYED]


def test_no_character_that_a_terminal_obeys_is_left() -> None:
    every = "".join(map(chr, range(sys.maxunicode + 1)))
    assert not obeyed(printable(every))
    assert printable(HOSTILE).startswith(r"[/x]\x1b]0;owned\x07\x1b[2J\u202egnp\x9b1m\x85\u2028")


def test_text_that_prints_is_left_alone() -> None:
    for text in ("BTC-USD", "Zürich", "日本円", "🚀", r"a\b", ""):
        assert printable(text) is text


@given(st.text())
def test_a_json_document_keeps_its_value_and_prints(text: str) -> None:
    shown = printable_json(msgspec.json.encode({"symbol": text}))
    assert not obeyed(shown)
    assert json.loads(shown) == {"symbol": text}


def test_the_lines_of_a_json_document_stay() -> None:
    assert printable_json(b'{\n  "a": "\xc2\x9b"\n}') == '{\n  "a": "\\u009b"\n}'


def test_a_message_of_several_lines_becomes_one() -> None:
    assert one_line('server at "x" failed:\n\tIs it running?\n') == 'server at "x" failed: Is it running?'
    assert "\n" not in one_line("a\n2026-11-30 ERROR forged\x85\x1b")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("wss://ws.kraken.com/v2", "wss://ws.kraken.com/v2"),
        ("wss://me:hunter2@feed.example:9443/ws", f"wss://{MASK}@feed.example:9443/ws"),
        ("wss://token@feed.example", f"wss://{MASK}@feed.example"),
        ("https://x.example/a?streams=btc&api_key=hunter2&b", f"https://x.example/a?streams=btc&api_key={MASK}&b"),
        ("https://x.example/?accessToken=hunter2", f"https://x.example/?accessToken={MASK}"),
        ("wss://[broken", MASK),
    ],
)
def test_an_address_is_shown_without_its_secrets(url: str, shown: str) -> None:
    assert masked_url(url) == shown
