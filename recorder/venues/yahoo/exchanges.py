"""Which exchange a symbol trades at: by the code in its answers, and before the first answer by its spelling.

Names on the right are market identifier codes, and ALWAYS, FX and CME of recorder/exchanges. Codes from the answers of
yfinance's and yahoo-finance2's fixtures; a code or a suffix that is missing here is named in the settings.
"""

from recorder.exchanges.calendar import Exchange
from recorder.exchanges.table import ALWAYS, exchange

_CODES = {
    "NMS": "XNAS", "NGM": "XNAS", "NCM": "XNAS", "NAS": "XNAS", "NYQ": "XNYS", "NYS": "XNYS", "ASE": "XASE",
    "PCX": "ARCX", "BTS": "BATS", "PNK": "XNYS", "OQB": "XNYS", "OQX": "XNYS", "OEM": "XNYS", "SNP": "XNYS",
    "DJI": "XNYS", "NIM": "XNAS", "WCB": "XNYS", "CXI": "XNYS",
    "TOR": "XTSE", "VAN": "XTSX", "CNQ": "XTSE", "NEO": "XTSE", "MEX": "XMEX", "SAO": "BVMF",
    "LSE": "XLON", "IOB": "XLON", "FGI": "XLON", "ISE": "XDUB", "GER": "XETR", "FRA": "XFRA", "STU": "XETR",
    "PAR": "XPAR", "AMS": "XAMS", "BRU": "XBRU", "LIS": "XLIS", "MCE": "XMAD", "MIL": "XMIL", "EBS": "XSWX",
    "VIE": "XWBO",
    "STO": "XSTO", "HEL": "XHEL", "CPH": "XCSE", "OSL": "XOSL", "ICE": "XICE", "WSE": "XWAR", "JNB": "XJSE",
    "IST": "XIST",
    "TLV": "XTAE", "SAU": "XSAU", "JPX": "XTKS", "OSA": "XTKS", "HKG": "XHKG", "SHH": "XSHG", "SHZ": "XSHG",
    "TAI": "XTAI", "TWO": "XTAI", "KSC": "XKRX", "KOE": "XKRX", "BSE": "XBOM", "NSI": "XNSE", "SES": "XSES",
    "ASX": "XASX", "NZE": "XNZE", "JKT": "XIDX", "KLS": "XKLS", "SET": "XBKK",
    "CCC": ALWAYS, "CCY": "FX", "CME": "CME", "CBT": "CME", "NYM": "CME", "CMX": "CME", "NYB": "CME",
}  # fmt: skip

_SUFFIXES = {
    "TO": "XTSE", "V": "XTSX", "CN": "XTSE", "NE": "XTSE", "MX": "XMEX", "SA": "BVMF", "L": "XLON", "IL": "XLON",
    "IR": "XDUB", "DE": "XETR", "F": "XFRA", "SG": "XETR", "PA": "XPAR", "AS": "XAMS", "BR": "XBRU", "LS": "XLIS",
    "MC": "XMAD", "MI": "XMIL", "SW": "XSWX", "VI": "XWBO", "ST": "XSTO", "HE": "XHEL", "CO": "XCSE", "OL": "XOSL",
    "IC": "XICE", "WA": "XWAR", "JO": "XJSE", "IS": "XIST", "TA": "XTAE", "SR": "XSAU", "T": "XTKS", "HK": "XHKG",
    "SS": "XSHG", "SZ": "XSHG", "TW": "XTAI", "TWO": "XTAI", "KS": "XKRX", "KQ": "XKRX", "BO": "XBOM", "NS": "XNSE",
    "SI": "XSES", "AX": "XASX", "NZ": "XNZE", "JK": "XIDX", "KL": "XKLS", "BK": "XBKK",
}  # fmt: skip

_QUOTES = ("USD", "EUR", "GBP", "JPY", "BTC")


def exchange_of_code(code: str) -> Exchange | None:
    """Return the exchange of an answer's `exchangeName`; None where the code is unknown."""
    name = _CODES.get(code)
    return None if name is None else exchange(name)


def exchange_of_symbol(symbol: str) -> Exchange:
    """Return the exchange that the spelling of a symbol names; New York where it names none."""
    if symbol.endswith("=X"):
        return exchange("FX")
    if symbol.endswith("=F"):
        return exchange("CME")
    base, dash, quote = symbol.rpartition("-")
    if dash and base and quote in _QUOTES:
        return exchange(ALWAYS)
    _, dot, suffix = symbol.rpartition(".")
    return exchange(_SUFFIXES.get(suffix, "XNYS") if dot else "XNYS")
