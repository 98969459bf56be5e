"""Reports: a search as one self-contained page."""

from nas.reports.report import report

__all__ = ["report"]
