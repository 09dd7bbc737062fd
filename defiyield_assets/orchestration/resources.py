"""What assets are handed: the warehouse, the market behind the vendors, the policy, the notifier.

Lives here: Dagster resources, thin. Not here: SQL (store), clients (sources), markets (simulator), rules (domain).
Secrets are read from the environment when a call is made, so that no resource configuration in the UI shows one.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import dagster as dg
import httpx
import pandas as pd
from dagster_slack import SlackResource
from sqlalchemy import Engine

from defiyield_assets.config.loader import LoadedPolicy, load_policy
from defiyield_assets.domain.days import DayRange, cutoff, end_of, market_stamp
from defiyield_assets.domain.policy import Policy
from defiyield_assets.domain.policy_codec import policy_from_json
from defiyield_assets.domain.pools.snapshot import aliases_in_force
from defiyield_assets.errors import ConfigurationError, SuspiciousDataError
from defiyield_assets.settings import load_settings
from defiyield_assets.simulator.generated import GeneratedMarket
from defiyield_assets.simulator.recorded import RecordedMarket
from defiyield_assets.sources.slack import SlackWebhook
from defiyield_assets.sources.transport import Gateway, Window
from defiyield_assets.sources.vendors import default_vendors, without_pacing
from defiyield_assets.store import engine as engines
from defiyield_assets.store import reads, schema, writes
from defiyield_assets.store.archive import WarehouseArchive

T = TypeVar("T")
Simulation = GeneratedMarket | RecordedMarket


@lru_cache(maxsize=8)
def _connect(url: str) -> Engine:
    if url.startswith("sqlite:///"):
        Path(url.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
    return engines.make_engine(url)


@lru_cache(maxsize=8)
def _open_warehouse(url: str, market: str) -> Engine:
    """The engine of a migrated warehouse that holds this market; checked once per process."""
    engine = _connect(url)
    current, head = engines.current_revision(engine), engines.head_revision()
    if current != head:
        raise ConfigurationError(
            f"the warehouse is at schema revision {current or 'none'}, the code needs {head}: "
            f"run `defiyield migrate` or materialise the asset `migrations`"
        )
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

    def policy(self, day: date) -> Policy:
        """The policy as `policy_snapshot` of the day stored it; SuspiciousDataError when the day has none."""
        rows = reads.read_days(self.engine, schema.policy_snapshot, DayRange.of(day))
        if rows.empty:
            raise SuspiciousDataError(f"policy_snapshot of {day} is missing: materialise it first")
        return policy_from_json(rows.iloc[0]["policy_json"])

    def aliases(self, day: date) -> dict[str, str]:
        """Old pool id -> today's, as the policy of the day says."""
        columns = [column.name for column in schema.pool_aliases.columns]
        listed = [(alias.old_id, alias.new_id, alias.since, alias.source) for alias in self.policy(day).pool_aliases]
        return aliases_in_force(pd.DataFrame(listed, columns=columns), day)

    def contracts(self, day: date) -> pd.DataFrame:
        """`pool_contracts` as the policy of the day says, so that what is learnt later changes no earlier day."""
        columns = [column.name for column in schema.pool_contracts.columns]
        rows = [asdict(contract) for contract in self.policy(day).pool_contracts]
        return pd.DataFrame(rows, columns=columns).sort_values(["pool_id", "share_token"], ignore_index=True)


@lru_cache(maxsize=4)
def _simulation(
    market: str, recorded_data: str | None, chain_path: str, seed: int, config_dir: str | None
) -> Simulation:
    loaded = load_policy(date.max, Path(config_dir) if config_dir else None).policy
    Path(chain_path).parent.mkdir(parents=True, exist_ok=True)
    if market == "recorded":
        folder = Path(recorded_data) if recorded_data else load_settings().require_recorded_data()
        return RecordedMarket(folder, Path(chain_path), loaded.wallets, loaded.tokens, loaded.protocol_aliases)
    return GeneratedMarket(seed, Path(chain_path), loaded.wallets, loaded.tokens, loaded.protocols)


def window_of(day: date) -> Window:
    """When an answer of a source that only knows "now" may be labelled with the day."""
    return Window(end_of(day), cutoff(day))


class MarketResource(dg.ConfigurableResource[Any]):
    """The market behind the vendors: live, recorded or simulated; nothing after the transport knows which."""

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
        return httpx.AsyncHTTPTransport(retries=0) if simulation is None else simulation.transport(day)

    def stamp(self, day: date) -> datetime:
        """The present as the market sees it: the wall clock when live, D+1 00:30 UTC otherwise."""
        return datetime.now(UTC) if self.market == "live" else market_stamp(day)

    def has_key(self, vendor: str) -> bool:
        """Whether the vendor may be asked: always in a closed loop, with a key when live."""
        return self.market != "live" or vendor in load_settings().configured_keys()

    def ask(self, engine: Engine, day: date, question: Callable[[Gateway], Awaitable[T]]) -> T:
        """Open the gateway for partition `day`, ask, close it."""
        keys = load_settings().configured_keys() if self.market == "live" else {}
        vendors = default_vendors(keys)

        async def run() -> T:
            gateway = Gateway(
                self._transport(day),
                WarehouseArchive(engine),
                vendors if self.market == "live" else without_pacing(vendors),
                day,
                now=lambda: self.stamp(day),
            )
            async with gateway:
                return await question(gateway)

        return asyncio.run(run())


class PolicyResource(dg.ConfigurableResource[Any]):
    """The policy files of the installation."""

    config_dir: str | None = None

    def load(self, day: date, simulation: Simulation | None) -> LoadedPolicy:
        """The lists and parameters in force on the day, with what the market itself knows about its pools."""
        folder = Path(self.config_dir) if self.config_dir else None
        overrides = simulation.pool_overrides() if simulation is not None else ()
        loaded = load_policy(day, folder, overrides)
        if simulation is None:
            return loaded
        contracts = (*loaded.policy.pool_contracts, *simulation.pool_contracts())
        return LoadedPolicy(replace(loaded.policy, pool_contracts=contracts), loaded.warnings)


class NotifierResource(dg.ConfigurableResource[Any]):
    """Where messages go: Slack when it is configured and the market is live, else a local file.

    A webhook wins over a bot token with channel. Plans of a simulated or recorded market are never posted.
    """

    market: str
    local_folder: str

    @property
    def sink(self) -> str:
        """`slack` or `local`."""
        settings = load_settings()
        configured = settings.slack_webhook_url or (settings.slack_bot_token and settings.slack_channel)
        return "slack" if self.market == "live" and configured else "local"

    def post(
        self,
        text: str,
        blocks: Sequence[Mapping[str, Any]],
        name: str,
        *,
        market: MarketResource,
        engine: Engine,
        day: date,
    ) -> str:
        """Send one message and return the sink's answer; locally it is written to `<local_folder>/<name>`."""
        if self.sink == "local":
            folder = Path(self.local_folder)
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / name
            path.write_text(text + "\n", encoding="utf-8")
            path.chmod(0o600)
            return f"written to {path.name}"
        settings = load_settings()
        if settings.slack_webhook_url is not None:
            url = settings.slack_webhook_url.get_secret_value()

            async def question(gateway: Gateway) -> str:
                return (await SlackWebhook(gateway).post(url, text, blocks)).rows

            return market.ask(engine, day, question)
        if settings.slack_bot_token is None:
            raise ConfigurationError("DEFIYIELD_SLACK_BOT_TOKEN is not set")
        client = SlackResource(token=settings.slack_bot_token.get_secret_value()).get_client()
        answer = client.chat_postMessage(
            channel=settings.slack_channel or "", text=text, blocks=[dict(block) for block in blocks]
        )
        return "ok" if answer.get("ok") else str(answer.get("error"))


UNDONE_TABLES = (
    schema.account_transactions,
    schema.chain_balances,
    schema.ledger_postings,
    schema.daily_balances,
    schema.pool_positions,
    schema.nav_daily,
    schema.yield_attribution,
    schema.eligible_pools,
    schema.allocation_runs,
    schema.allocations,
    schema.allocation_steps,
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
    read_before = reads.read_all(warehouse.engine, schema.account_cursors)
    if len(read_before):
        writes.delete_where(warehouse.engine, schema.account_cursors, {"wallet": sorted(set(read_before["wallet"]))})
    return undone
