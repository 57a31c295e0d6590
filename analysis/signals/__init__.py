"""Forecasts of a number, such as a forward return: regression and ranking, judged by their order.

rows = Targets.of(table, labels.forward_return(path, times, hour, delay), event=days, subject="BTC/USD")
found = walk_forward(rows, folds=5, objective="regression")    # or "ranking", across subjects at each instant
print(found.verdict)
write_report(found, folder)                                    # signals.md, signals.json
"""

from analysis.signals.report import write_report
from analysis.signals.scores import Decay
from analysis.signals.targets import Targets
from analysis.signals.walk import Signals, walk_forward

__all__ = ["Decay", "Signals", "Targets", "walk_forward", "write_report"]
