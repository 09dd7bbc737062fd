"""What assets are handed: the warehouse, the market behind the vendors, the policy.

Lives here: Dagster resources, thin. Not here: SQL (store), clients (sources), markets (simulator), rules (domain),
where messages go (notifier.py).
Secrets are read from the environment when a call is made, so that no resource configuration in the UI shows one.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import dagster as dg
import httpx
import pandas as pd
from sqlalchemy import Engine

from defiyield_assets.config.csv_sources import load_csv_sources
from defiyield_assets.config.instruments import load_instruments
from defiyield_assets.config.loader import LoadedPolicy, load_policy
from defiyield_assets.domain.budgets import Account, Need, Standing, Statement, VendorPlan, standing
from defiyield_assets.domain.days import DayRange, cutoff, end_of, market_stamp, start_of
from defiyield_assets.domain.policy import Policy
from defiyield_assets.domain.prices.csv_sources import CsvSource
from defiyield_assets.domain.prices.instruments import MarketUniverse
from defiyield_assets.errors import ConfigurationError
from defiyield_assets.orchestration.served_clock import served_present
from defiyield_assets.settings import KEY_VARIABLES, Settings, load_settings
from defiyield_assets.simulator.generated import GeneratedMarket
from defiyield_assets.simulator.recorded import RecordedMarket
from defiyield_assets.sources.ollama import BesideMarket
from defiyield_assets.sources.pacing import account_of
from defiyield_assets.sources.recall import ALWAYS
from defiyield_assets.sources.transport import Gateway, VendorSettings, Window
from defiyield_assets.sources.vendors import OUR_OWN, adjusted, default_vendors, served_by, without_pacing
from defiyield_assets.store import engine as engines
from defiyield_assets.store import reads, schema, writes
from defiyield_assets.store.archive import WarehouseArchive
from defiyield_assets.store.backups.journal import require_no_interrupted_restore
from defiyield_assets.store.budgets import WarehouseBudgets
from defiyield_assets.store.warehouse import Warehouse

T = TypeVar("T")
logger = logging.getLogger(__name__)
Simulation = GeneratedMarket | RecordedMarket


@lru_cache(maxsize=8)
def _connect(url: str) -> Engine:
    if url.startswith("sqlite:///"):
        Path(url.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
    return engines.make_engine(url)


@lru_cache(maxsize=8)
def _open_warehouse(url: str, market: str) -> Engine:
    """The engine of a migrated warehouse that holds this market; checked once per process."""
    require_no_interrupted_restore(load_settings().state_path)
    engine = _connect(url)
    engines.require_newest(engine)
    engines.claim_market(engine, market)
    return engine


class WarehouseResource(dg.ConfigurableResource[Any]):
    """The SQL warehouse of one market. Without `url` the settings name it when it is used: it may hold a password."""

    market: str
    url: str | None = None

    @property
    def _address(self) -> str:
        return self.url or load_settings().warehouse_url

    @property
    def engine(self) -> Engine:
        """Engine of the migrated warehouse; ConfigurationError when it is not migrated or holds another market."""
        return _open_warehouse(self._address, self.market)

    def migrate(self) -> str:
        """Bring the schema to its newest revision and claim the warehouse for the market; returns the revision."""
        engine = _connect(self._address)
        revision = engines.upgrade(engine)
        engines.claim_market(engine, self.market)
        return revision

    @property
    def _stored(self) -> Warehouse:
        return Warehouse(self.engine, self.market)

    def policy(self, day: date) -> Policy:
        """The policy as `policy_snapshot` of the day stored it; SuspiciousDataError when the day has none."""
        return self._stored.policy(day)

    def aliases(self, day: date) -> dict[str, str]:
        """Old pool id -> today's, as the policy of the day says."""
        return self._stored.aliases(day)

    def alias_spans(self, days: DayRange) -> list[tuple[DayRange, dict[str, str]]]:
        """The range cut where aliases change, with those in force in each part (store/warehouse.py)."""
        return self._stored.alias_spans(days)

    def contracts(self, day: date) -> pd.DataFrame:
        """`pool_contracts` as the policy of the day says, so that what is learnt later changes no earlier day."""
        return self._stored.contracts(day)


@lru_cache(maxsize=4)
def _simulation(
    market: str, recorded_data: str | None, chain_path: str, seed: int, config_dir: str | None
) -> Simulation:
    folder = Path(config_dir) if config_dir else None
    loaded, universe = load_policy(date.max, folder).policy, load_instruments(folder).instruments
    Path(chain_path).parent.mkdir(parents=True, exist_ok=True)
    if market == "recorded":
        records = Path(recorded_data) if recorded_data else load_settings().require_recorded_data()
        lists = (loaded.wallets, loaded.tokens, loaded.protocol_aliases)
        return RecordedMarket(records, Path(chain_path), *lists, instruments=universe)
    lists_of_demo = (loaded.wallets, loaded.tokens, loaded.protocols)
    return GeneratedMarket(seed, Path(chain_path), *lists_of_demo, instruments=universe)


def window_of(day: date) -> Window:
    """When an answer of a source that only knows "now" may be labelled with the day."""
    return Window(end_of(day), cutoff(day))


def settled_window(days: DayRange, reach_days: int | None = None) -> Window | None:
    """When an answer about closed days stands for every later one: any time after the last of them is over.

    `reach_days`: how far back one answer of the source reaches; then only as long as it still reaches the first day,
    and None when no answer holds the whole range.
    """
    last = ALWAYS.not_after if reach_days is None else start_of(days.start) + timedelta(days=reach_days)
    return Window(end_of(days.end), last) if end_of(days.end) <= last else None


def configured_vendors(settings: Settings) -> frozenset[str]:
    """Vendors whose key, or for a node whose address, is set."""
    own = settings.vendors.get("ethereum_node")
    node = settings.ethereum_rpc_url or settings.vendor_server or (own is not None and own.base_url)
    return frozenset({*settings.configured_keys(), *(("ethereum_node",) if node else ())})


def live_vendors(settings: Settings) -> dict[str, VendorSettings]:
    """Every vendor of a live market with the installation's keys, addresses and limits."""
    node = settings.ethereum_rpc_url
    vendors = default_vendors(
        settings.configured_keys(),
        coingecko_plan=settings.coingecko_plan,
        alpha_vantage_plan=settings.alpha_vantage_plan,
        node_url=node.get_secret_value() if node is not None else None,
        ollama_url=settings.ollama_url,
    )
    if settings.vendor_server is not None:
        vendors = served_by(settings.vendor_server, vendors)
    return adjusted(vendors, settings.vendors)


def _standings(engine: Engine | None, account: Account, now: datetime) -> tuple[Standing, ...]:
    """How the account's limits stand; untouched where there is no warehouse yet."""
    if engine is None:
        return tuple(standing(limit, {}, now) for limit in account.limits)
    return WarehouseBudgets(engine).standings(account, now)


def vendor_standings(settings: Settings, engine: Engine | None, now: datetime) -> dict[str, tuple[Standing, ...]]:
    """How the limits of every vendor of a live market stand, by vendor."""
    return {
        vendor: _standings(engine, account_of(of_vendor), now) for vendor, of_vendor in live_vendors(settings).items()
    }


def _network(vendors: Mapping[str, VendorSettings]) -> httpx.AsyncHTTPTransport:
    """The real network: no proxy of the environment, no more connections than the vendors allow together."""
    most = sum(settings.concurrency for settings in vendors.values())
    limits = httpx.Limits(max_connections=most, max_keepalive_connections=most, keepalive_expiry=30.0)
    return httpx.AsyncHTTPTransport(retries=0, trust_env=False, limits=limits)


class MarketResource(dg.ConfigurableResource[Any]):
    """The market behind the vendors: live, recorded or simulated; nothing after the transport knows which.

    A simulated or recorded world is made from the lists of `config_dir` or the shipped ones, never from those of the
    state folder: what is decided there about tokens and protocols does not change the world that it is decided about.
    """

    market: str
    chain_path: str
    seed: int
    recorded_data: str | None = None
    config_dir: str | None = None

    @property
    def simulation(self) -> Simulation | None:
        """The market object of a closed loop; None when the market is live."""
        if self.market == "live":
            return None
        return _simulation(self.market, self.recorded_data, self.chain_path, self.seed, self.config_dir)

    def _transport(self, day: date) -> httpx.AsyncBaseTransport:
        simulation = self.simulation
        if simulation is None:
            return _network(self.vendors())
        transport, faults = simulation.transport(day), load_settings().simulated_faults
        if faults is None:
            return transport
        from defiyield_assets.simulator.faults import FaultyTransport, parse_fault_rules

        return FaultyTransport(transport, parse_fault_rules(faults))

    def wall_clock(self) -> datetime:
        """The real present; what a live market goes by, and budgets always."""
        return datetime.now(UTC)

    def stamp(self, day: date) -> datetime:
        """The present as the market sees it: the wall clock when live (or that of the server that speaks for the
        vendors), D+1 00:30 UTC otherwise.
        """
        if self.market != "live":
            return market_stamp(day)
        return served_present(load_settings().vendor_server) or self.wall_clock()

    def vendors(self) -> dict[str, VendorSettings]:
        """Every vendor's address, key and limits: the real ones when live, without limits in a closed loop."""
        if self.market != "live":
            return without_pacing(default_vendors({}, ollama_url=load_settings().ollama_url))
        return live_vendors(load_settings())

    def has_key(self, vendor: str) -> bool:
        """Whether the vendor may be asked: with a key (or a node's address) when live, in a closed loop unless the
        market has nothing of that vendor.
        """
        if self.market != "live":
            return vendor not in self._absent_vendors()
        return vendor in configured_vendors(load_settings())

    def why_not_asked(self, vendor: str) -> str:
        """Of a vendor that may not be asked: what its key would add, or that this market has nothing of it."""
        if vendor in self._absent_vendors():
            return f"the {self.market} market has nothing of {vendor}, with or without a key"
        variable, adds = KEY_VARIABLES[vendor]
        return f"no {variable}, which would add {adds}"

    def _absent_vendors(self) -> frozenset[str]:
        if self.market == "live":
            return frozenset()
        return RecordedMarket.absent_vendors if self.market == "recorded" else GeneratedMarket.absent_vendors

    def ask(
        self,
        engine: Engine,
        day: date,
        question: Callable[[Gateway], Awaitable[T]],
        calls: Mapping[str, int | Need] | None = None,
    ) -> T:
        """Open the gateway for partition `day`, ask, close it.

        `calls` says how many calls (or calls and credits) each vendor is going to get, at most: it is logged with what
        the budgets leave, and when they cannot carry it nothing is sent (VendorPlanLimit with the numbers).
        """
        if calls is not None:
            statement = self.state(engine, calls)
            logger.info("%s: %s", day, statement)
            statement.require()

        async def run() -> T:
            async with self._gateway(engine, day) as gateway:
                return await question(gateway)

        return asyncio.run(run())

    def state(self, engine: Engine | None, calls: Mapping[str, int | Need]) -> Statement:
        """What is going to be asked of whom, and what the budgets leave; its `metadata` is for the materialisation."""
        vendors, now = self.vendors(), self.wall_clock()
        unknown = sorted(set(calls) - set(vendors))
        if unknown:
            raise ConfigurationError(f"no vendor {', '.join(unknown)}; there are {', '.join(sorted(vendors))}")
        plans = []
        for vendor, need in calls.items():
            account = account_of(vendors[vendor])
            stands = _standings(engine, account, now) if self.market == "live" else ()
            plans.append(VendorPlan(account, Need(need) if isinstance(need, int) else need, stands))
        return Statement(tuple(plan for plan in plans if plan.need.calls))

    def _gateway(self, engine: Engine, day: date) -> Gateway:
        vendors = self.vendors()
        own = {name: vendors[name] for name in sorted(OUR_OWN)}
        return Gateway(
            BesideMarket(self._transport(day), lambda: _network(own)),
            WarehouseArchive(engine),
            vendors,
            day,
            now=lambda: self.stamp(day),
            wall_clock=self.wall_clock,
            budgets=WarehouseBudgets(engine) if self.market == "live" else None,
        )


class ArchivedMarket(MarketResource):
    """The market of a day that is rebuilt: the archive answers everything, no socket is opened, nothing is recorded.

    Every question gets what partition `day` was told when it ran (sources/recall.py, `replayed`). `url` is the
    warehouse's, as in `WarehouseResource`, and `warehouse_market` what it holds where that is not `market`. Hand it to
    `build_defs(settings, market=ArchivedMarket(...))`.
    """

    day: str
    url: str | None = None
    warehouse_market: str | None = None

    @property
    def _archive(self) -> WarehouseArchive:
        url = self.url or load_settings().warehouse_url
        return WarehouseArchive(_open_warehouse(url, self.warehouse_market or self.market))

    def _transport(self, day: date) -> httpx.AsyncBaseTransport:
        def refuse(request: httpx.Request) -> httpx.Response:
            raise ConfigurationError(f"a rebuild of {day} asks nobody, but was to send {request.method} {request.url}")

        return httpx.MockTransport(refuse)

    def state(self, engine: Engine | None, calls: Mapping[str, int | Need]) -> Statement:  # noqa: ARG002 - as in MarketResource
        """Nothing: nobody is asked."""
        return Statement(())

    def stamp(self, day: date) -> datetime:
        """When the partition was answered last; a live day that never asked has its cutoff."""
        if self.market != "live":
            return market_stamp(day)
        return self._archive.newest_stamp(day) or cutoff(day)

    def has_key(self, vendor: str) -> bool:
        """Whether the rebuilt day could ask the vendor: it did, or it found the vendor's answer when it ran."""
        if self.market != "live":
            return super().has_key(vendor)
        day, archive = date.fromisoformat(self.day), self._archive
        last = archive.newest_stamp(day)
        return archive.asked(vendor, day) or (last is not None and archive.answered(vendor, end_of(day), last))

    def _gateway(self, engine: Engine, day: date) -> Gateway:
        # Which plan CoinGecko was asked by decides the questions, and so which archived answers are theirs.
        vendors = without_pacing(default_vendors({}, coingecko_plan=load_settings().coingecko_plan))
        return Gateway(
            self._transport(day),
            WarehouseArchive(engine),
            vendors,
            day,
            now=lambda: self.stamp(day),
            archive_only=True,
        )


class PolicyResource(dg.ConfigurableResource[Any]):
    """The policy files of the installation: those of `config_dir`; without one those of `own_dir`, once it is there."""

    config_dir: str | None = None
    own_dir: str | None = None

    @property
    def folder(self) -> Path | None:
        """The folder whose files replace the shipped ones, as it is now: a long-running process sees a new one."""
        if self.config_dir:
            return Path(self.config_dir)
        return Path(self.own_dir) if self.own_dir and Path(self.own_dir).is_dir() else None

    def load(self, day: date, simulation: Simulation | None) -> LoadedPolicy:
        """The lists and parameters in force on the day, with what the market itself knows about its pools."""
        folder = self.folder
        overrides = simulation.pool_overrides() if simulation is not None else ()
        loaded = load_policy(day, folder, overrides)
        if simulation is None:
            return loaded
        contracts = (*loaded.policy.pool_contracts, *simulation.pool_contracts())
        known = tuple(alias for alias in simulation.pool_aliases() if alias.since <= day)
        aliases = (*loaded.policy.pool_aliases, *known)
        return LoadedPolicy(replace(loaded.policy, pool_contracts=contracts, pool_aliases=aliases), loaded.warnings)

    def universe(self) -> MarketUniverse:
        """The instruments of the market part and the priority of their sources, as the files say now."""
        return load_instruments(self.folder)

    def csv_sources(self) -> tuple[CsvSource, ...]:
        """What is known of files of bars, as the file says now."""
        return load_csv_sources(self.folder)


def market_of(settings: Settings) -> MarketResource:
    """The market of an installation."""
    return MarketResource(
        market=settings.market,
        chain_path=str(settings.chain_path.resolve()),
        seed=settings.market_seed,
        recorded_data=str(settings.recorded_data) if settings.recorded_data else None,
        config_dir=str(settings.config_dir) if settings.config_dir else None,
    )


def policy_of(settings: Settings) -> PolicyResource:
    """The policy of an installation."""
    return PolicyResource(
        config_dir=str(settings.config_dir) if settings.config_dir else None,
        own_dir=str(settings.own_config_path.resolve()),
    )


UNDONE_TABLES = (
    schema.account_transactions,
    schema.chain_balances,
    schema.ledger_postings,
    schema.trial_balance,
    schema.ledger_closings,
    schema.daily_balances,
    schema.share_rates,
    schema.pool_positions,
    schema.nav_daily,
    schema.yield_attribution,
    schema.open_lots,
    schema.realised_gains,
    schema.unexplained_transactions,
    schema.eligible_pools,
    schema.allocation_runs,
    schema.allocations,
    schema.allocation_steps,
    schema.allocation_limits,
    schema.risk_gain_frontier,
    schema.plan_executions,
    schema.daily_report,
    schema.slack_notification,
)
"""Tables of a day that rest on what the plans before it did."""


def undo_executions(warehouse: WarehouseResource, market: MarketResource, first: date) -> int:
    """Undo the plans of `first` and later on the simulated chain, and forget what was read of them; returns their
    number.

    What rests on these executions is deleted from `first` + 1 on and made again when these days run again.
    """
    if market.simulation is None:
        raise ConfigurationError("a live market cannot be reset; give --market simulated or recorded")
    undone = market.simulation.chain.reset(first)
    after = DayRange(first + timedelta(days=1), date(9998, 12, 31))
    for table in UNDONE_TABLES:
        empty = pd.DataFrame(columns=[column.name for column in table.columns])
        writes.replace_slice(warehouse.engine, table, empty, after)
    read = reads.read_all(warehouse.engine, schema.account_cursors)["read_through"]
    later = sorted({day for day in read if day > first})
    if later:
        writes.delete_where(warehouse.engine, schema.account_cursors, {"read_through": later})
    return undone
