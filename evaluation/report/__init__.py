"""The report: from a sweep's results to figures, tables and one self-contained page, without a model."""

from evaluation.report.page import write_report

__all__ = ["write_report"]
