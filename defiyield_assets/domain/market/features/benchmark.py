"""Metrics that compare an instrument with its benchmark, bar by bar: correlation, beta, relative strength.

Lives here: windows over a panel whose `benchmark_close` is the benchmark's adjusted close of the same dates. Not here:
ranks within a universe (cross_section.py), kernels (windows.py), which benchmark it is (instruments.yaml).
"""

from functools import partial

from defiyield_assets.domain.market.features.metric import Metric, Need
from defiyield_assets.domain.market.features.panel import Bars, Matrix
from defiyield_assets.domain.market.features.series import NOISE, log_return, simple_return
from defiyield_assets.domain.market.features.windows import last, log, ratio, rolling_beta, rolling_corr, shift

GROUP = "cross-section"
BENCHMARK: frozenset[Need] = frozenset({"close", "benchmark"})
WINDOWS = (60, 252)
STRENGTHS = (20, 63, 252)


def _benchmark_log_return(bars: Bars) -> Matrix:
    """ln(B / B₋₁) on the instrument's own bars, of every row but the first."""

    def calculate() -> Matrix:
        rows = bars.n_rows - 1
        return log(ratio(last(bars.benchmark_close, rows), shift(bars.benchmark_close, 1, rows)))

    return bars.cached("benchmark_log_return", calculate)


def _correlation(bars: Bars, *, n: int) -> Matrix:
    return rolling_corr(log_return(bars), _benchmark_log_return(bars), n, bars.n_new, NOISE)


def _beta(bars: Bars, *, n: int) -> Matrix:
    return rolling_beta(log_return(bars), _benchmark_log_return(bars), n, bars.n_new, NOISE)


def _relative_strength(bars: Bars, *, n: int) -> Matrix:
    own = last(simple_return(bars, n), bars.n_new)
    benchmark = ratio(last(bars.benchmark_close, bars.n_new), shift(bars.benchmark_close, n, bars.n_new))
    return ratio(1.0 + own, benchmark) - 1.0


METRICS: tuple[Metric, ...] = (
    *[
        Metric(
            name=f"correlation_{n}",
            group=GROUP,
            unit="ratio",
            warm_up=n + 1,
            formula=f"Pearson correlation of the last {n} log returns with the benchmark's; null where either is flat",
            needs=BENCHMARK,
            bounds=(-1.0, 1.0),
            calculate=partial(_correlation, n=n),
            is_intraday=False,
        )
        for n in WINDOWS
    ],
    *[
        Metric(
            name=f"beta_{n}",
            group=GROUP,
            unit="ratio",
            warm_up=n + 1,
            formula=f"cov(r, b) / var(b) over the last {n} log returns r and the benchmark's b; null where b is flat",
            needs=BENCHMARK,
            bounds=(None, None),
            calculate=partial(_beta, n=n),
            is_intraday=False,
        )
        for n in WINDOWS
    ],
    *[
        Metric(
            name=f"relative_strength_{n}",
            group=GROUP,
            unit="fraction",
            warm_up=n + 1,
            formula=f"(C / C₋{n}) / (B / B₋{n}) − 1, B the benchmark's close of the same days",
            needs=BENCHMARK,
            bounds=(-1.0, None),
            calculate=partial(_relative_strength, n=n),
            is_intraday=False,
        )
        for n in STRENGTHS
    ],
)
