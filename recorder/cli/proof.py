"""The report of `tapedeck verify` as lines for a person. Pure."""

from collections.abc import Iterator

from recorder.verify import Report


def _short(symbol: str) -> str:
    """A symbol as a table has room for it; a token of Polymarket has 77 digits."""
    return symbol if len(symbol) <= 20 else f"{symbol[:8]}...{symbol[-8:]}"


def lines(report: Report) -> Iterator[str]:
    """The account of each table, the verdict on each stream, and what is wrong."""
    yield f"{'table':<12}{'offered':>12}{'inserted':>12}{'duplicate':>11}{'quarantined':>13}{'rows':>12}"
    for row in report.ledger:
        rows = "" if row.rows is None else f"{row.rows:,}"
        verdict = "" if row.ok else "   WRONG"
        yield (
            f"{row.table:<12}{row.offered:>12,}{row.inserted:>12,}{row.duplicate:>11,}{row.quarantined:>13,}"
            f"{rows:>12}{verdict}"
        )
    yield f"trade ids stored twice: {report.doubled_ids}"
    if report.streams:
        yield ""
        yield f"{'stream':<30}{'sent':>10}{'stored':>10}{'declared':>10}{'missing':>9}{'twice':>7}{'wrong':>7}"
        for stream in report.streams:
            name = f"{stream.venue} {_short(stream.symbol)} {stream.channel}"
            yield (
                f"{name:<30}{stream.sent:>10,}{stream.stored:>10,}{stream.declared:>10,}{stream.missing:>9,}"
                f"{stream.duplicates:>7,}{stream.wrong:>7,}"
            )
    yield ""
    yield from report.problems
    yield "clean: nothing lost, nothing doubled, everything accounted for" if report.ok else "NOT clean"
