"""The figures of one chart as a page of their own: a year of them is longer than all else that its page says.

Lives here: finding the chart, the page. Not here: which charts have such a page, and the table
(domain/reporting/page.py, charts.py).
"""

from dataclasses import replace

from defiyield_assets.console.layout import Inner, Page, Panel
from defiyield_assets.domain.reporting.charts import figures_table
from defiyield_assets.domain.reporting.formats import clean
from defiyield_assets.domain.reporting.layout import Section
from defiyield_assets.domain.reporting.page import charts_of
from defiyield_assets.errors import NotFound

FIGURES = "figures"
"""The parameter that asks for the figures of a chart instead of its page."""


def figures_page(page: Page, chart_id: str, back: str) -> Page:
    """The page of one chart's figures; it leads to `page` at the address `back`."""
    for panel in page.panels:
        chart = charts_of(panel.section).get(chart_id)
        if chart is not None:
            table = replace(figures_table(chart), fold="never")
            section = Section(FIGURES, "Figures", (chart.summary,), tables=(table,))
            return replace(
                page,
                headline=f"{page.headline}: {chart.title}",
                tone="calm",
                paragraphs=(Inner.at(f"Back to {page.headline}", back),),
                facts=(),
                facts_assets=(),
                panels=(Panel(section, panel.assets, panel.day),),
                downloads=(),
                template="page.html.j2",
                extra={},
            )
    raise NotFound(f"this page has no chart {clean(chart_id, 80)!r}")
