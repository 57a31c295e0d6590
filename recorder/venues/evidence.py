"""Evidence that each venue gives for the completeness of a recording; the page of a venue explains it."""

EVIDENCE: dict[str, str] = {
    "binance": "trade ids; book update ids",
    "bitfinex": "one sequence per connection; book checksums",
    "coinbase": "trade ids, the last one in heartbeats",
    "coinbase_advanced": "trade ids; one sequence per connection",
    "figure": "none for trades; each frame is a full book",
    "kraken": "trade ids; book checksums",
    "okx": "trade ids; chained book sequence",
    "polymarket": "none; best prices check the book",
}
