"""The document of a certificate: its hash, its chain, and what is refused before any frame is read."""

import msgspec
import pytest
from support.certify.facts import facts

from recorder.certify.document import (
    Certificate,
    chain_faults,
    decode,
    decode_all,
    digest,
    encode,
    same_facts,
    sealed,
)
from recorder.errors import ConfigError


def chain(count: int) -> list[Certificate]:
    made: list[Certificate] = []
    for number in range(1, count + 1):
        previous = made[-1].sha256 if made else None
        one = facts("coinbase", "trade", frames=number)
        made.append(sealed(one, number=number, revision=number, previous=previous, made_at="2026-12-01T02:00:00Z"))
    return made


def test_a_document_reads_back_as_it_was_hashed() -> None:
    one = chain(1)[0]
    assert decode(encode(one)) == one
    assert digest(decode(encode(one))) == one.sha256


@pytest.mark.parametrize("change", [(b'"frames":1', b'"frames":2'), (b'"state"', b'"state"'), (b'"trade"', b'"quote"')])
def test_any_change_of_the_text_changes_the_hash(change: tuple[bytes, bytes]) -> None:
    one = chain(1)[0]
    changed = decode(encode(one).replace(*change))
    assert (digest(changed) == one.sha256) == (change[0] == change[1])


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (b"", "it is empty"),
        (b"{}", "it is no certificate"),
        (b"[1]", "it is no certificate"),
        (b"[", "it is no list of certificates"),
        (encode(facts("okx", "book")).replace(b'"frames":', b'"extra":1,"frames":'), "unknown field"),
        (encode(facts("okx", "book", tapedeck_certificate=9)), "it has format 9"),
        (encode(facts("okx", "book", hour="2026-12-01T00:30:00Z")), "is not a UTC hour"),
        (encode(facts("okx", "book", hour="2026-12-01")), "is not a UTC hour"),
        (encode(facts("okx", "book", hour="soon")), "is not a UTC hour"),
    ],
)
def test_what_is_no_certificate_is_refused_in_one_sentence(text: bytes, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        decode_all(text)


def test_a_file_may_hold_lines_an_array_or_one_indented_document() -> None:
    made = chain(3)
    lines = b"\n".join(map(encode, made))
    assert decode_all(lines + b"\n") == made
    assert decode_all(b"[" + b",".join(map(encode, made)) + b"]") == made
    assert decode_all(msgspec.json.format(encode(made[0]))) == made[:1]


def test_a_chain_holds_only_as_it_was_made() -> None:
    made = chain(3)
    assert chain_faults({one.number: one for one in made}) == {}
    assert chain_faults({1: made[0], 3: made[2]}) == {}
    other = sealed(made[1], number=2, revision=2, previous=made[0].sha256, made_at="2026-12-01T03:00:00Z")
    assert list(chain_faults({1: made[0], 2: other, 3: made[2]})) == [3]
    assert list(chain_faults({1: msgspec.structs.replace(made[0], previous="0" * 64)})) == [1]


def test_a_certificate_without_decoding_does_not_replace_one_with_that_verdict() -> None:
    decoded = sealed(facts("okx", "book"), number=1, revision=1, previous=None, made_at="2026-12-01T02:00:00Z")
    assert same_facts(decoded, facts("okx", "book", replay="not made"))
    assert same_facts(decoded, facts("okx", "book", program="2", read_until_us=1))
    assert not same_facts(decoded, facts("okx", "book", frames=99))
    assert not same_facts(facts("okx", "book", replay="not made"), facts("okx", "book"))
