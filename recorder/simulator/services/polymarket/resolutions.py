"""Resolutions and facts about tokens in the form of the Data API v2."""

import hashlib

from recorder.simulator.services.polymarket.ids import padded
from recorder.simulator.services.polymarket.life import MICRO, Market, Status
from recorder.simulator.services.polymarket.site import Named
from recorder.simulator.services.polymarket.times import iso

_TOKENS_LAG_S = 3  # /v2/tokens hears of a payout later than /v2/resolutions
_UNSET = "69"


def resolution_row(named: Named, now_s: float) -> dict[str, object] | None:
    """Return the state of a market's resolution; None for a market that has vanished."""
    market = named.market
    condition = padded(market.condition(named.version))
    row: dict[str, object] = {
        "condition_id": condition, "status": "posed", "extended_review": False, "was_disputed": False,
        "new_version_q": False, "transaction_hash": "", "log_index": "",
        "last_update_timestamp": iso(market.created_s),
    }  # fmt: skip
    if not isinstance(market, Market):
        if market.payouts is not None:
            row |= {"status": "resolved", "payouts": list(market.payouts), "resolution_source": "reported"}
        return row
    if not market.visible(now_s):
        return None
    status = market.status(now_s)
    row |= {
        "status": status, "market_type": "INCREMENTAL_NEGRISK" if market.neg_risk else "BINARY",
        "reporter": "CHAINLINK" if market.way == "automatic" else "UMA_OO",
        "was_disputed": status in ("challenged", "reproposed", "disputed", "resolved") and market.way == "disputed",
        "last_update_timestamp": iso(_updated_s(market, status)),
    }  # fmt: skip
    if market.noise % 7 == 0:  # some rows lack documented keys
        del row["reporter"], row["market_type"]
    if status == "resolved":
        row |= {
            "payouts": list(market.payouts), "resolution_source": "reported", "resolved_at": iso(market.resolved_s),
            "resolved_block": 80_000_000 + market.resolved_s % 10_000_000, "log_index": "17",
            "transaction_hash": "0x" + hashlib.sha256(condition.encode()).hexdigest(),
        }  # fmt: skip
    elif status in ("proposed", "reproposed"):
        row |= {"proposed_price": _price(market), "price": _UNSET}
        if market.way != "disputed":
            row |= {
                "expected_settlement_time": iso(market.resolved_s),
                "settlement_time_basis": "managed_proposal_expiration",
            }  # fmt: skip
    elif status == "disputed":
        row |= {
            "expected_settlement_time": iso(market.resolved_s), "settlement_time_basis": "dvm_round_estimate",
            "proposed_price": _price(market), "price": _UNSET,
        }  # fmt: skip
    return row


def _price(market: Market) -> str:
    """Return a proposal in units of 1e-18. The first proposal of a disputed market is wrong."""
    first = market.payouts[0] if market.way != "disputed" else MICRO - market.payouts[0]
    return str(first * 10**12)


def _updated_s(market: Market, status: Status) -> int:
    if status == "resolved":
        return market.resolved_s
    return market.proposed_s if status not in ("active", "posed") else market.created_s


def token_rows(named: Named, now_s: float) -> list[dict[str, object]]:
    """Return what the Data API knows of both tokens of a market."""
    market = named.market
    tokens = market.tokens(named.version)
    resolved = market.resolved(now_s - _TOKENS_LAG_S)
    payouts = market.payouts
    return [
        {
            "token_id": token, "condition_id": padded(market.condition(named.version)), "outcome": label,
            "outcome_index": place, "clob_index": place, "opposite_token_id": tokens[1 - place],
            "module": _module(named), "closed": resolved, "resolved": resolved,
            "final_price": payouts[place] / MICRO if resolved and payouts is not None else None,
        }
        for place, (token, label) in enumerate(zip(tokens, market.outcomes, strict=True))
    ]  # fmt: skip


def _module(named: Named) -> str:
    if named.version == "v1":
        return "v1_ctf"
    return "neg_risk" if isinstance(named.market, Market) and named.market.neg_risk else "binary"
