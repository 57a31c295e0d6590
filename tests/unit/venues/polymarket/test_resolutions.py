"""Statements about how a market ended: what each service says, and what is no statement."""

import json
from typing import Any

import pytest
from support.captured_data import CAPTURES, require
from support.venues.polymarket import CONDITION, NO, NOW_NS, YES, gamma_body, gamma_row

from recorder.errors import DecodeError
from recorder.venues.polymarket.polls import gamma
from recorder.venues.polymarket.polls.resolutions import clob_market, of_gamma, of_tokens, resolutions, tokens

PAIR = (YES, NO)


def data(*rows: dict[str, Any]) -> bytes:
    """Return an answer of the Data API."""
    return json.dumps({"data": rows}).encode()


def test_a_resolved_market_has_payouts_and_its_time() -> None:
    found = resolutions(
        data({
            "condition_id": "0x01" + "ab" * 30, "status": "resolved", "payouts": [1000000, 0],
            "resolved_at": "2026-10-05T11:30:53Z", "was_disputed": False, "transaction_hash": "", "price": "69",
        }),
        NOW_NS,
    )  # fmt: skip
    assert found.odd == []
    [reading] = found.readings
    assert (reading.condition_id, reading.payouts) == ("0x01" + "ab" * 30 + "00", (1_000_000, 0))
    assert (reading.resolved_ns, reading.disputed) == (1791199853 * 10**9, False)


@pytest.mark.parametrize("payouts", [[500000, 500000], [0, 1000000], [300000, 700000], ["1000000", "0"]])
def test_payouts_of_one_share_are_kept(payouts: list[int]) -> None:
    found = resolutions(data({"condition_id": CONDITION, "status": "resolved", "payouts": payouts}), NOW_NS)
    assert found.readings[0].payouts == (int(payouts[0]), int(payouts[1]))


@pytest.mark.parametrize(
    "payouts",
    [[1000000, 1000000], [0, 0], [1000000], [1000001, -1], [0.5, 999999.5], None, "1000000,0", [True, 0], [69, 69]],
)
def test_payouts_that_do_not_sum_to_a_share_are_refused(payouts: object) -> None:
    found = resolutions(data({"condition_id": CONDITION, "status": "resolved", "payouts": payouts}), NOW_NS)
    assert found.readings == []
    [odd] = found.odd
    assert odd.what == CONDITION


@pytest.mark.parametrize("status", ["posed", "proposed", "disputed", "arbitration", "active"])
def test_only_a_resolved_market_has_payouts(status: str) -> None:
    row = {
        "condition_id": CONDITION, "status": status, "payouts": [1000000, 0], "proposed_price": "1000000000000000000",
        "expected_settlement_time": "2026-10-05T11:30:58Z",
    }  # fmt: skip
    [reading] = resolutions(data(row), NOW_NS).readings
    assert (reading.payouts, reading.expected_ns) == (None, 1791199858 * 10**9)


def test_an_unknown_status_is_named_and_says_nothing() -> None:
    found = resolutions(data({"condition_id": CONDITION, "status": "voided", "payouts": [1000000, 0]}), NOW_NS)
    assert found.readings[0].payouts is None
    assert found.odd[0].reason == "unknown word 'voided'"


def test_an_unknown_market_has_no_row() -> None:
    assert resolutions(data(), NOW_NS) == ([], [])


def test_one_odd_row_costs_itself() -> None:
    found = resolutions(data({"status": "resolved"}, {"condition_id": CONDITION, "status": "posed"}), NOW_NS)
    assert [reading.status for reading in found.readings] == ["posed"]
    assert len(found.odd) == 1


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"data": null}', b'{"data": {}}', b'{"error": "x"}'])
def test_an_answer_of_another_shape_is_refused(body: bytes) -> None:
    with pytest.raises(DecodeError):
        resolutions(body, NOW_NS)
    with pytest.raises(DecodeError):
        tokens(body)


def fact(token: str, price: float | None, **changes: Any) -> dict[str, Any]:
    """Return a row of /v2/tokens."""
    return {
        "token_id": token, "condition_id": CONDITION, "module": "v1_ctf", "resolved": True, "final_price": price,
        "closed": True, "outcome_index": 1, "clob_index": 0,
    } | changes  # fmt: skip


@pytest.mark.parametrize(
    ("yes", "no", "payouts"), [(1, 0, (1_000_000, 0)), (0, 1, (0, 1_000_000)), (0.5, 0.5, (500_000, 500_000))]
)
def test_two_token_facts_are_joined_by_id_not_by_position(yes: float, no: float, payouts: tuple[int, int]) -> None:
    found = tokens(data(fact(NO, no), fact(YES, yes)))
    facts = {one.token: one for one in found.facts}
    reading = of_tokens(CONDITION, PAIR, facts, NOW_NS)
    assert reading is not None
    assert reading.payouts == payouts


def test_token_facts_say_nothing_before_both_are_resolved() -> None:
    for other in (fact(NO, None), fact(NO, 0, resolved=False)):
        facts = {one.token: one for one in tokens(data(fact(YES, 1), other)).facts}
        reading = of_tokens(CONDITION, PAIR, facts, NOW_NS)
        assert reading is not None
        assert reading.payouts is None
    assert of_tokens(CONDITION, PAIR, {}, NOW_NS) is None


def test_token_facts_that_do_not_sum_to_a_share_are_refused() -> None:
    facts = {one.token: one for one in tokens(data(fact(YES, 1), fact(NO, 1))).facts}
    with pytest.raises(ValueError, match="do not sum"):
        of_tokens(CONDITION, PAIR, facts, NOW_NS)


def test_the_captured_market_of_the_clob_names_its_winner() -> None:
    body = require(CAPTURES / "polymarket" / "clob_market_closed_winner.json").read_bytes()
    pair = tuple(one["token_id"] for one in json.loads(body)["tokens"])
    assert clob_market(body, pair, NOW_NS).payouts == (1_000_000, 0)
    assert clob_market(body, pair[::-1], NOW_NS).payouts == (0, 1_000_000)
    assert clob_market(body, ("1", "2"), NOW_NS).payouts is None


@pytest.mark.parametrize(
    ("closed", "winners"),
    [(False, (True, False)), (True, (False, False)), (True, (True, True)), ("true", (True, False)), (True, ("yes", 0))],
)
def test_a_winner_of_false_is_no_statement(closed: object, winners: tuple[object, object]) -> None:
    body = {
        "condition_id": CONDITION, "closed": closed,
        "tokens": [{"token_id": token, "winner": won} for token, won in zip(PAIR, winners, strict=True)],
    }  # fmt: skip
    assert clob_market(json.dumps(body).encode(), PAIR, NOW_NS).payouts is None


@pytest.mark.parametrize("body", [b"{}", b"[]", b'{"condition_id": "0x"}', b"null", b"<html>"])
def test_a_clob_answer_of_another_shape_is_refused(body: bytes) -> None:
    with pytest.raises(DecodeError):
        clob_market(body, PAIR, NOW_NS)


def test_gamma_is_a_source_where_its_row_is_final() -> None:
    body = gamma_body(gamma_row(closed=True, outcomePrices='["0", "1"]', umaResolutionStatus="resolved"))
    assert of_gamma(gamma.markets(body, NOW_NS).rows[0]).payouts == (0, 1_000_000)
    assert of_gamma(gamma.markets(gamma_body(gamma_row()), NOW_NS).rows[0]).payouts is None
