"""The report of a run, or of several side by side: one HTML file that needs nothing else.

record.py reads a run folder; results.py, curves.py, gallery.py, costs.py and setup.py make views of it, frozen and
ready to print; page.py puts them into templates/. evaluation.py does the same for an evaluation folder.
"""

from fdfo.evaluation.report.evaluation import evaluation_page
from fdfo.evaluation.report.page import write_report

__all__ = ["evaluation_page", "write_report"]
