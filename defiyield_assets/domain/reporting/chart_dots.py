"""The points of a chart as SVG, each of which tells its figure when it is pointed at.

Not here: where they are (charts.py), everything around them (templates/chart.html.j2). Written in Python as the rows of
tables are (table_rows.py): a template takes many times as long.
"""

from collections.abc import Sequence
from html import escape

from markupsafe import Markup

from defiyield_assets.domain.reporting.charts import Dot


def dots_html(dots: Sequence[Dot]) -> Markup:
    """A circle per point, with its words escaped."""
    told = (
        f'<circle class="dot fill {dot.colour}{" lone" if dot.is_lone else ""}" cx="{dot.x:.2f}%" cy="{dot.y:.2f}%" '
        f'r="4"><title>{escape(dot.words)}</title></circle>\n'
        for dot in dots
    )
    return Markup("".join(told))  # noqa: S704 - words are escaped above, the rest is ours
