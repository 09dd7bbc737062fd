"""The rows of the list of pools, and its lists of choices, as HTML.

Lives here: cells and options, every word of them escaped. Not here: what they say (pages/pools.py), everything around
them (templates/pools.html.j2), tables of other pages (domain/reporting/table_rows.py).

Written in Python because a template takes many times as long, and no page is asked for as often.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from markupsafe import Markup

from defiyield_assets.console.layout import Inner

LONG_FIGURE = 11
"""Letters beyond which a figure takes two places in a stacked row."""
OPTION, CHOSEN = '<option value="{}">{}</option>', '<option value="{}" selected>{}</option>'


@dataclass(frozen=True)
class ShownPool:
    """A row as text; `look` is the class of its verdict."""

    name: Inner
    protocol: str
    chain: str
    verdict: str
    look: str
    reasons: str
    codes: str
    group: str
    figures: tuple[str, ...]


def pool_rows_html(pools: Sequence[ShownPool], figure_names: Sequence[str]) -> Markup:
    """All rows; `figure_names` are the words of the figures' columns."""
    labels = [escape(name) for name in figure_names]
    return Markup("".join(_row(pool, labels) for pool in pools))  # noqa: S704 - every cell and label is escaped


def options_html(choices: Sequence[tuple[str, str]], chosen: str) -> Markup:
    """Values and words of a list of choices."""
    told = ((CHOSEN if value == chosen else OPTION).format(escape(value), escape(words)) for value, words in choices)
    return Markup("\n".join(told))  # noqa: S704 - every value and its words are escaped


def _row(pool: ShownPool, labels: Sequence[str]) -> str:
    name = f'<a href="{escape(pool.name.url)}" rel="noopener noreferrer">{escape(pool.name)}</a>'
    reasons = f": {escape(pool.reasons)}" if pool.reasons else ""
    codes = f' <span class="codes">{escape(pool.codes)}</span>' if pool.codes else ""
    figures = (
        f'<td role="cell" class="number{" two" if len(figure) > LONG_FIGURE else ""}" data-label="{label}">'
        f"{escape(figure)}</td>"
        for label, figure in zip(labels, pool.figures, strict=True)
    )
    return (
        '<tr role="row">\n'
        f'<th role="rowheader" scope="row" class="name">{name}</th>\n'
        f'<td role="cell" class="two" data-label="Protocol">{escape(pool.protocol)}</td>\n'
        f'<td role="cell" class="short" data-label="Chain">{escape(pool.chain)}</td>\n'
        f'<td role="cell" class="words" data-label="Verdict"><b class="{escape(pool.look)}">{escape(pool.verdict)}</b>'
        f"{reasons}{codes}</td>\n"
        f'<td role="cell" class="short" data-label="Risk group">{escape(pool.group)}</td>\n'
        f"{''.join(figures)}\n"
        "</tr>\n"
    )
