"""The report that the analyst reads in the morning, in its two stored forms.

Lives here: both forms of a day together. Not here: what is said (content.py), the HTML page (page.py), Markdown
(markdown.py), Slack (slack.py) or the terminal (plan_text.py).
"""

from dataclasses import dataclass

from defiyield_assets.domain.reporting.content import build_content
from defiyield_assets.domain.reporting.inputs import ReportInputs
from defiyield_assets.domain.reporting.markdown import render_markdown
from defiyield_assets.domain.reporting.page import render_html


@dataclass(frozen=True)
class Report:
    """A report in its two forms, equal in content; the columns of `daily_report`."""

    title: str
    markdown: str
    html: str


def build_report(inputs: ReportInputs) -> Report:
    """The report of the day. Vendors' strings are shortened and escaped; the page loads nothing and runs no script."""
    content = build_content(inputs)
    return Report(content.title, render_markdown(content), render_html(content))
