"""`defiyield backtest-policy`: the policy in force, replayed over stored days beside simple strategies and foresight.

Lives here: wiring and the printed tables. Not here: the replay (domain/allocation/backtest) or reading the stored days
(orchestration/policy_backtests.py).
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

from rich import box
from rich.console import Console
from rich.progress import track
from rich.table import Table
from rich.text import Text

from defiyield_assets.cli.output import write_json
from defiyield_assets.cli.tables import print_table
from defiyield_assets.domain.allocation.backtest.engine import Books, Start, Strategy, replay
from defiyield_assets.domain.allocation.backtest.figures import attribution, figures
from defiyield_assets.domain.allocation.backtest.records import RealisedYields, decision_days
from defiyield_assets.domain.allocation.backtest.strategies import Hold, Optimiser, Setting, Simple
from defiyield_assets.domain.allocation.backtest.yardsticks import FORESIGHT_BREAK_EVEN_DAYS, FORESIGHT_DAYS, foresight
from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.policy import Policy
from defiyield_assets.domain.policy_codec import policy_hash
from defiyield_assets.domain.reporting.formats import clean
from defiyield_assets.errors import ConfigurationError
from defiyield_assets.orchestration.plan_inputs import investable_wallet
from defiyield_assets.orchestration.policy_backtests import WarehouseRecords
from defiyield_assets.orchestration.resources import WarehouseResource
from defiyield_assets.settings import load_settings

SHOWN_POOLS = 10
SHOWN_CHARACTERS = 80
POLICY = "policy"


def backtest_policy(days: DayRange, capital_usd: Decimal, symbol: str, console: Console, *, is_json: bool) -> int:
    """Replay the paid days from `capital_usd` in one token; the plans are made on the evenings before them."""
    settings = load_settings()
    warehouse = WarehouseResource(url=settings.warehouse_url, market=settings.warehouse_market)
    records, policy = WarehouseRecords(warehouse, days), warehouse.policy(days.end)
    token = next((one.address for one in policy.tokens if one.symbol == symbol), None)
    if token is None:
        raise ConfigurationError(f"--token {symbol}: no approved token of that symbol")
    is_quiet = not console.is_terminal
    start = Start(days.start, days.end, capital_usd, token, investable_wallet(policy))
    for day in track(
        [*decision_days(days.start, days.end), days.end],
        "reading stored days",
        console=console,
        transient=True,
        disable=is_quiet,
    ):
        records.known(day)
    strategies = strategies_of(policy, records.yields)
    books = {
        name: replay(strategy, records, start, policy)
        for name, strategy in track(
            strategies.items(), "replaying", len(strategies), console=console, transient=True, disable=is_quiet
        )
    }
    if is_json:
        told = {name: figures(book) for name, book in books.items()}
        pools = attribution(books[POLICY])
        write_json(
            {"first": days.start, "last": days.end, "capital_usd": capital_usd, "token": symbol}
            | {"strategies": told, "pools": pools}
        )
        return 0
    print_table(_comparison(books, days), console)
    print_table(_pools(books[POLICY]), console)
    return 0


def strategies_of(policy: Policy, yields: RealisedYields) -> dict[str, Strategy]:
    """The policy, what it is compared with, and foresight under the same limits and costs."""
    setting = Setting(policy, policy_hash(policy))
    week = replace(
        policy.parameters,
        horizon_days=FORESIGHT_DAYS,
        break_even_days=FORESIGHT_BREAK_EVEN_DAYS,
        reward_haircut=0.0,
        objective="expected",
    )
    seeing = Setting(replace(policy, parameters=week), setting.policy_hash, foresight(yields))
    return {
        POLICY: Optimiser(setting),
        "hold": Hold(setting),
        "equal weight, monthly": Simple(setting, "equal", 30),
        "by size, monthly": Simple(setting, "size", 30),
        "best APY, daily": Simple(setting, "trailing", 1),
        "best APY, weekly": Simple(setting, "trailing", 7),
        "foresight, weekly": Optimiser(seeing, FORESIGHT_DAYS),
    }


def _comparison(books: Mapping[str, Books], days: DayRange) -> Table:
    title = f"{days.start} to {days.end}, {len(days)} days"
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("Strategy", no_wrap=True)
    for name in ("Net APY", "Gas USD", "Conversions USD", "Cost a year", "Turnover", "Transactions", "Worst day"):
        table.add_column(name, justify="right")
    for name, book in books.items():
        one = figures(book)
        table.add_row(
            name,
            f"{one.net_apy:.2%}",
            f"{one.gas_usd:,.2f}",
            f"{one.conversion_usd:,.2f}",
            f"{one.cost_share:.2%}",
            f"{one.turnover:.1f}",
            str(one.n_transactions),
            f"{one.worst_day:.4%}",
        )
    return table


def _pools(books: Books) -> Table:
    table = Table(
        title="Where the policy's yield came from",
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    table.add_column("Pool", no_wrap=True)
    for name in ("Days", "Mean USD", "Yield USD", "Share", "APY held"):
        table.add_column(name, justify="right")
    for row in attribution(books).head(SHOWN_POOLS).to_dict("records"):
        figures_of = (f"{row['mean_usd']:,.2f}", f"{row['yield_usd']:,.2f}", f"{row['share']:.1%}", f"{row['apy']:.2%}")
        table.add_row(Text(clean(str(row["pool_id"]), SHOWN_CHARACTERS)), str(row["days"]), *figures_of)
    return table


def paid_days(first: date, last: date) -> DayRange:
    """Days that are paid in a replay of the stored days: all but the first, on whose evening the first plan is made."""
    if first >= last:
        raise ConfigurationError(f"a replay needs an evening and a day that is paid: {first} to {last} is too short")
    return DayRange(first + timedelta(days=1), last)
