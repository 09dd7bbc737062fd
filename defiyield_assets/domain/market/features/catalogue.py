"""The catalogue of metrics as a page of the documentation, generated from the registry.

Lives here: the text. Not here: the metrics (registry.py), or the site that shows the page (docs/generate.py writes it
to docs/reference/metrics.md when the site is built).
"""

from collections.abc import Sequence

from defiyield_assets.domain.market.features.metric import Definition, Metric
from defiyield_assets.domain.market.features.panel import HISTORY
from defiyield_assets.domain.market.features.recursions import STATE_FIELDS
from defiyield_assets.domain.market.features.registry import METRICS

HEADER = f"""# Metrics

This page is generated from the registry (`domain/market/features/registry.py`) when the site is built.

One column of `daily_features` per metric, on adjusted prices: O, H, L, C are open, high, low and close x `adj_factor`,
V units / `split_factor`; an index counts bars back (C₋₁: the bar before). A bar is a bar of the instrument: no calendar
is filled in. *Warm-up* is the bar that has the first value; before it, and wherever an input is unknown, a metric is
null. *Needs*: a source that tells closes only leaves metrics that need `ohlc` or `volume` null. *Bounds* are
mathematical; the table refuses a value outside. Volatilities are a year's, × √(bars of a year): 365 days for 24x7,
252 for an exchange, times the bars of a day in `intraday_features`. Unknown are the open of a bar that hides a gap, and
the volume of a bar whose volume comes from another source than that of the bar before.
Units: `index` 0 to 100, `flag` 0 or 1, `sigma` standard deviations, `price` USD. *Intraday*: also a column of
`intraday_features`.

The same bar has the same bits in a batch and day by day. Windows are folded by a fixed tree over at most {HISTORY}
earlier bars; metrics with memory go on from {len(STATE_FIELDS)} columns of `feature_state`.
"""


def catalogue(metrics: Sequence[Definition] = METRICS) -> str:
    """The Markdown page: one table per group, groups and metrics in the order of the registry."""
    groups: dict[str, list[Definition]] = {}
    for metric in metrics:
        groups.setdefault(metric.group, []).append(metric)
    parts = [HEADER, f"{len(metrics)} metrics in {len(groups)} groups."]
    for group, members in groups.items():
        rows = [
            f"## {group.capitalize()}\n",
            "| name | unit | warm-up | needs | bounds | intraday | formula |",
            "| --- | --- | ---: | --- | --- | --- | --- |",
            *[_row(metric) for metric in members],
        ]
        parts.append("\n".join(rows))
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def _row(metric: Definition) -> str:
    low, high = metric.bounds
    least, most = ("" if low is None else f"≥ {low:g}"), ("" if high is None else f"≤ {high:g}")
    is_intraday = "yes" if isinstance(metric, Metric) and metric.is_intraday else ""
    cells = [
        *(f"`{metric.name}`", metric.unit, str(metric.warm_up), ", ".join(sorted(metric.needs))),
        *(", ".join(filter(None, (least, most))), is_intraday, metric.formula.replace("|", "\\|")),
    ]
    return f"| {' | '.join(cells)} |"
