"""Tables of the policy backtest: the grid, all strategies beside the yardsticks, pools, sensitivity.

Lives here: printing. Not here: running (policy_backtest.py) or measuring (domain/allocation/backtest/figures.py).
"""

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal

from defiyield_assets.domain.allocation.backtest.engine import Books
from defiyield_assets.domain.allocation.backtest.figures import Figures, attribution, figures, halves

NAME_WIDTH = 42
SHOWN_POOLS = 12


def row(name: str, *cells: str) -> None:
    """A line of a table."""
    print(f"{name:<{NAME_WIDTH}}" + "".join(f"{cell:>11}" for cell in cells))


def title(n_series: int, first: date, last: date, seconds: float) -> None:
    """What is replayed."""
    n_days = (last - first).days + 1
    print(f"policy backtest: {n_series} Ethereum series (lend, vault), paid {first} .. {last} ({n_days} days)")
    print(f"forecasts of all evenings: {seconds:.0f} s" + (" (stored before)" if seconds < 1 else ""))


def _setting(given: Mapping[str, float]) -> str:
    words = {"horizon_days": "h", "break_even_days": "be", "reward_haircut": "cut", "min_transaction_usd": "min"}
    return " ".join(f"{words.get(name, name)} {value:g}" for name, value in given.items())


def grid_table(last: date, grid: Sequence[Mapping[str, float]], found: Sequence[Figures], best: int) -> None:
    """Every setting on the first half."""
    print(
        f"\ngrid on the first half, to {last} (h horizon_days, be break_even_days, cut reward_haircut, min "
        "min_transaction_usd)"
    )
    row("setting", "net APY", "cost/AUM", "turnover", "sent")
    for index, (given, one) in enumerate(zip(grid, found, strict=True)):
        cells = (f"{one.net_apy:.3%}", f"{one.cost_share:.3%}", f"{one.turnover:.1f}", str(one.n_transactions))
        row(_setting(given) + ("  <- chosen" if index == best else ""), *cells)


def main_table(books: Mapping[str, Books], policy: str, yardstick: str, bound: float, window: int) -> None:
    """Strategies and yardsticks: whole range, halves, costs, shares."""
    print()
    heads = ("net APY", "1st half", "2nd half", "gas USD", "conv. USD", "cost/AUM", "turnover", "sent", "worst day")
    row("strategy", *heads, "of fores.", "of bound")
    own = halves(books[policy])
    best = figures(books[yardstick])
    for name, book in books.items():
        whole, parts = figures(book), [figures(book, *half) for half in own]
        row(
            name,
            *(f"{one.net_apy:.2%}" for one in (whole, *parts)),
            *(f"{usd:,.0f}" for usd in (whole.gas_usd, whole.conversion_usd)),
            f"{whole.cost_share:.3%}",
            f"{whole.turnover:.1f}",
            str(whole.n_transactions),
            f"{whole.worst_day * 1e4:.2f} bp",
            f"{whole.net_apy / best.net_apy:.1%}",
            f"{whole.net_apy / bound:.1%}",
        )
    row("hindsight bound", f"{bound:.2%}")
    print(
        f"the bound holds for every strategy that is within its caps at least every {window} day(s); turnover is "
        "moved value over mean wealth, a year"
    )
    by_status = books[policy].daily["status"].value_counts().to_dict()
    print(
        f"{policy}: days by outcome {by_status}; unrecorded days of held pools "
        f"{float(books[policy].daily['unobserved_usd'].sum()) / float(books[policy].daily['wealth_usd'].sum()):.2%} of "
        "value, paid as last observed"
    )


def usable_line(n_series: int, books: Books) -> None:
    """How many pools the filters left on the days."""
    usable = books.daily["n_usable"].dropna().astype(int)
    print(f"usable pools a day, of {n_series}: {usable.min()} to {usable.max()}, median {usable.median():.0f}")


def pool_table(books: Books) -> None:
    """Where the yield came from."""
    print()
    row("pool", "days", "mean USD", "yield USD", "share", "APY held")
    for one in attribution(books).head(SHOWN_POOLS).to_dict("records"):
        row(
            one["pool_id"][: NAME_WIDTH - 1],
            str(one["days"]),
            f"{one['mean_usd']:,.0f}",
            f"{one['yield_usd']:,.0f}",
            f"{one['share']:.1%}",
            f"{one['apy']:.2%}",
        )


def capital_table(capitals: Sequence[Decimal], found: Sequence[Figures]) -> None:
    """Policy and foresight at other capitals."""
    print()
    row("capital USD", "net APY", "cost/AUM", "turnover", "idle", "foresight", "share")
    for index, capital in enumerate(capitals):
        policy, best = found[2 * index], found[2 * index + 1]
        row(
            f"{capital:,.0f}",
            f"{policy.net_apy:.2%}",
            f"{policy.cost_share:.3%}",
            f"{policy.turnover:.1f}",
            f"{policy.idle_share:.1%}",
            f"{best.net_apy:.2%}",
            f"{policy.net_apy / best.net_apy:.1%}",
        )


def change_table(changes: Sequence[Mapping[str, float]], found: Sequence[Figures]) -> None:
    """One parameter changed, all else as chosen."""
    print()
    row("changed", "net APY", "cost/AUM", "turnover", "sent")
    for given, one in zip(changes, found, strict=True):
        row(
            _setting(given),
            f"{one.net_apy:.2%}",
            f"{one.cost_share:.3%}",
            f"{one.turnover:.1f}",
            str(one.n_transactions),
        )
