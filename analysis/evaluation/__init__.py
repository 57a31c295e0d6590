"""Judging a model against its baseline on rows it could not know, and telling a person.

found = evaluate(trained.model, rows.take(trained.split.test))
print(found.verdict)
write_report(found, folder)          # report.html, evaluation.json, card.md
"""

from analysis.evaluation.evaluate import Evaluation, Slice, evaluate, judged, unknown_to
from analysis.evaluation.money import Costs
from analysis.evaluation.report import data_sheet, model_card, report_page, write_report

__all__ = [
    "Costs",
    "Evaluation",
    "Slice",
    "data_sheet",
    "evaluate",
    "judged",
    "model_card",
    "report_page",
    "unknown_to",
    "write_report",
]
