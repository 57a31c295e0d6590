"""Each grade where it belongs, by channel and by what the venue's protocol proves."""

import msgspec
import pytest
from support.certify.facts import BEGIN_US, facts, gap

from recorder.certify.document import BookChecks, Certificate, Grade
from recorder.certify.grade import feed_of_grade, grade, rules_of


def grade_of(certificate: Certificate) -> Grade:
    return grade(certificate, rules_of(certificate.feed, certificate.channel))[0]


@pytest.mark.parametrize(
    ("expected", "certificate"),
    [
        ("proved", facts("coinbase", "trade")),
        ("proved", facts("okx", "trade", distinct=20)),  # one row may stand for several ids
        ("proved", facts("coinbase", "trade", distinct=49, strays=1)),
        ("proved", facts("bitfinex", "trade")),
        ("proved", facts("coinbase", "trade", gaps=[gap("healed")])),
        ("proved", facts("coinbase", "trade", first_id=None, last_id=None, distinct=0, before_id=99, after_id=100)),
        ("witnessed", facts("figure", "trade", witnesses={"quiet": 2}, stored=0, distinct=0)),
        ("claimed", facts("figure", "trade", witnesses={"quiet": 2})),  # of one silence, and not of the trades
        ("witnessed", facts("bitfinex", "trade", gaps=[gap("healed", "two reads agree, candle equal")])),
        ("consistent", facts("bitfinex", "trade", gaps=[gap("healed", "two reads agree, candle not comparable")])),
        ("consistent", facts("kraken", "trade", after_id=None)),
        ("claimed", facts("figure", "trade")),
        ("claimed", facts("polymarket", "trade")),
        ("proved", facts("coinbase_advanced", "quote")),
        ("claimed", facts("coinbase", "quote")),
        ("proved", facts("kraken", "book", book=BookChecks(checksums_passed=7))),
        ("witnessed", facts("binance", "book", witnesses={"agrees": 1})),
        ("consistent", facts("binance", "book")),
        ("claimed", facts("figure", "book")),
        ("consistent", facts("polymarket", "book", book=BookChecks(checksums_passed=7))),  # of best prices only
    ],
)
def test_the_best_rule_that_holds_gives_the_grade(expected: Grade, certificate: Certificate) -> None:
    assert grade_of(certificate) == expected


@pytest.mark.parametrize(
    ("reason", "certificate"),
    [
        ("gap disconnect, open, 4 ids", facts("coinbase", "trade", gaps=[gap("open")])),
        ("gap disconnect, unhealable, 4 ids", facts("figure", "book", gaps=[gap("unhealable")])),
        ("2 trade ids are not stored", facts("coinbase", "trade", distinct=48)),
        ("1 trade ids are not stored", facts("coinbase", "trade", before_id=98)),
        ("more trades than ids", facts("coinbase", "trade", distinct=51)),
        ("the stored rows are not those of the frames", facts("kraken", "quote", replay="differs")),
        ("3 blocks of the journal cannot be read", facts("kraken", "quote", damaged=3)),
        ("subscribed only since 30:00 of the hour", facts("okx", "trade", watched_from_us=BEGIN_US + 1_800_000_000)),
        ("no journal says since when the stream was subscribed", facts("okx", "book", watched_from_us=None)),
        ("REST had another book", facts("binance", "book", witnesses={"agrees": 1, "differs": 1})),
    ],
)
def test_no_evidence_outweighs_a_hole(reason: str, certificate: Certificate) -> None:
    assert grade(certificate, rules_of(certificate.feed, certificate.channel)) == ("holed", [reason])


def test_the_rules_of_an_hour_of_two_feeds_are_those_of_the_one_that_numbers_nothing() -> None:
    assert feed_of_grade(["coinbase_advanced", "coinbase"]) == "coinbase"
    assert feed_of_grade(["coinbase_advanced"]) == "coinbase_advanced"
    assert feed_of_grade([]) is None


def test_ids_that_were_never_issued_are_no_hole() -> None:
    never = gap("healed", "never issued: ids 111 to 114; no read listed them, and the candles agree without them")
    assert grade_of(facts("coinbase", "trade", distinct=46, gaps=[never])) == "proved"
    assert grade_of(facts("coinbase", "trade", distinct=45, gaps=[never])) == "holed"


def test_ids_that_were_never_issued_excuse_no_others() -> None:
    words = "never issued: ids 91 to 98; no read listed them, and the candles agree without them"
    before = msgspec.structs.replace(gap("healed", words), last_id=90, first_id=99)  # it ends where the hour begins
    assert grade_of(facts("coinbase", "trade", gaps=[before])) == "proved"
    assert grade_of(facts("coinbase", "trade", distinct=46, gaps=[before])) == "holed"
    never = gap("healed", "never issued: ids 111 to 114; no read listed them, and the candles agree without them")
    twice = msgspec.structs.replace(never, gap_id=2)
    assert grade_of(facts("coinbase", "trade", distinct=46, gaps=[never, twice])) == "proved"
    assert grade_of(facts("coinbase", "trade", distinct=42, gaps=[never, twice])) == "holed"
