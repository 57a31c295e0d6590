"""The registry of questions: each venue that is recorded or polled, by its key in the settings."""

from recorder.venues.binance import questions as binance
from recorder.venues.bitfinex import questions as bitfinex
from recorder.venues.coinbase import questions as coinbase
from recorder.venues.coinbase_advanced import questions as coinbase_advanced
from recorder.venues.figure import questions as figure
from recorder.venues.kraken import questions as kraken
from recorder.venues.okx import questions as okx
from recorder.venues.polymarket import questions as polymarket
from recorder.venues.questions import Questionnaire
from recorder.venues.yahoo import questions as yahoo

QUESTIONNAIRES: dict[str, Questionnaire] = {
    "binance": binance.QUESTIONNAIRE,
    "bitfinex": bitfinex.QUESTIONNAIRE,
    "coinbase": coinbase.QUESTIONNAIRE,
    "coinbase_advanced": coinbase_advanced.QUESTIONNAIRE,
    "figure": figure.QUESTIONNAIRE,
    "kraken": kraken.QUESTIONNAIRE,
    "okx": okx.QUESTIONNAIRE,
    "polymarket": polymarket.QUESTIONNAIRE,
    "yahoo": yahoo.QUESTIONNAIRE,
}
