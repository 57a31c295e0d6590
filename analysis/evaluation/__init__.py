"""Evaluate a model against its baseline on rows it was not trained on, and write a report.

found = evaluate(trained.model, rows.take(trained.split.test))
print(found.verdict)
write_report(found, folder)          # report.html, evaluation.json, card.md
walked = walk_forward(rows, folds=5)  # train, forecast what came next, train again; walked.evaluation judges all of it
"""

from analysis.errors import extra_packages

with extra_packages("analysis.evaluation"):
    from analysis.evaluation.betting import Costs
    from analysis.evaluation.evaluate import Evaluation, Slice, evaluate, evaluate_slice, unknown_to
    from analysis.evaluation.report import data_sheet, model_card, report_page, write_report
    from analysis.evaluation.walk_forward import WalkForward, walk_forward

__all__ = [
    "Costs",
    "Evaluation",
    "Slice",
    "WalkForward",
    "data_sheet",
    "evaluate",
    "evaluate_slice",
    "model_card",
    "report_page",
    "unknown_to",
    "walk_forward",
    "write_report",
]
