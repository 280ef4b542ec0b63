"""`report.html`: one self-contained page on what a run did, for those who must check it."""

from pipeline.inspect.report.source import report_is_current
from pipeline.inspect.report.write import write_report

__all__ = ["report_is_current", "write_report"]
