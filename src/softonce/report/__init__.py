"""One evaluation as one self-contained HTML page: no script, no request to anywhere."""

from softonce.report.page import Mistake as Mistake
from softonce.report.page import Report as Report
from softonce.report.page import write_report as write_report
