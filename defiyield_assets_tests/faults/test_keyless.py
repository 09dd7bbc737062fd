"""A live market without any key: what comes from the keyless sources alone, and what each missing key would add.

Not here: live days with keys (test_healing.py, test_lasting.py), the closed loop (test_end_to_end.py).
"""

import io
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
import sqlalchemy as sa

from defiyield_assets.cli.main import main
from defiyield_assets.settings import KEY_VARIABLES
from defiyield_assets.store import schema
from defiyield_assets_tests.installations import FIRST, Installation
from defiyield_assets_tests.served_market import ServedMarket, environment, generated_market, live_installation, serving

pytestmark = pytest.mark.slow

KEYLESS_HOSTS = {
    "yields.llama.fi",
    "coins.llama.fi",
    "ethereum-rpc.simulated",
    "api.ethplorer.io",
    "api-v2.pendle.finance",
}
"""Who may be asked without a key: DeFiLlama, a node, Pendle, and Ethplorer by its public key."""
FILLED = (
    schema.pools,
    schema.prefiltered_pools,
    schema.pool_histories,
    schema.closes_defillama,
    schema.daily_bars,
    schema.gas_fees_hourly,
    schema.gas_fees_daily,
    schema.pool_metrics,
    schema.pool_forecasts,
    schema.gas_forecasts,
    schema.chain_balances,
)
NEEDED_BY = {
    "coinmarketcap": "ohlcv_coinmarketcap",
    "coingecko": "ohlcv_coingecko",
    "alpha_vantage": "ohlcv_alpha_vantage",
    "etherscan": "account_transactions",
    "fred": "macro_series",
}
"""Vendor whose key is missing -> the asset that says so."""


@dataclass(frozen=True)
class KeylessDay:
    """The day as `defiyield run --market live` ran it."""

    market: ServedMarket
    installation: Installation
    code: int
    said: str


@pytest.fixture(scope="module")
def keyless(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeylessDay]:
    """The command line's day without any key, on a server that speaks the live paths."""
    folder = tmp_path_factory.mktemp("keyless")
    home = folder / "dagster_home"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry:\n  enabled: false\n", encoding="utf-8")
    with serving(generated_market(folder)) as market:
        variables = {**market.variables(keys=False), "DAGSTER_HOME": str(home), "COLUMNS": "400"}
        state = folder / "state"
        with environment(variables), pytest.MonkeyPatch.context() as patch:
            said: list[str] = []
            code = _run_captured(
                ["run", "--market", "live", "--date", str(FIRST), "--state-dir", str(state)], said, patch
            )
            yield KeylessDay(market, live_installation(state), code, said[0])


def _run_captured(arguments: list[str], said: list[str], patch: pytest.MonkeyPatch) -> int:
    """The exit code of the command, and everything it printed."""
    out = io.StringIO()
    patch.setenv("COLUMNS", "400")
    with redirect_stdout(out), redirect_stderr(out):
        code = main(arguments)
    said.append(out.getvalue())
    return code


def outcomes(day: KeylessDay) -> pd.DataFrame:
    return day.installation.rows(schema.asset_outcomes, FIRST).set_index("asset")


def test_nothing_fails(keyless: KeylessDay) -> None:
    told = outcomes(keyless)
    assert told[told["status"] == "failed"].index.tolist() == [], keyless.said
    assert keyless.code == 0, keyless.said
    assert "Traceback" not in keyless.said


@pytest.mark.parametrize("table", FILLED, ids=[table.name for table in FILLED])
def test_what_needs_no_key_comes(keyless: KeylessDay, table: sa.Table) -> None:
    assert not keyless.installation.rows(table, FIRST).empty


def test_gas_is_the_nodes(keyless: KeylessDay) -> None:
    fees = keyless.installation.rows(schema.gas_fees_hourly, FIRST)
    assert set(fees["source"]) == {"eth_fee_history"}
    assert fees.groupby("kind")["hour"].nunique().to_dict() == {"base_fee": 24, "gas_price": 24}
    assert (fees["eth_price_usd"] > 0).all(), "the price of ETH comes from DeFiLlama"


def test_closes_are_defillamas(keyless: KeylessDay) -> None:
    bars = keyless.installation.rows(schema.daily_bars, FIRST)
    assert set(bars["source"]) == {"defillama_coins"}
    assert bars["close"].notna().all()


@pytest.mark.parametrize(("vendor", "asset"), NEEDED_BY.items(), ids=list(NEEDED_BY))
def test_each_missing_key_names_what_it_would_add(keyless: KeylessDay, vendor: str, asset: str) -> None:
    variable, adds = KEY_VARIABLES[vendor]
    told = outcomes(keyless).loc[asset]
    assert told["status"] == "degraded"
    assert variable in told["reason"]
    assert adds in told["reason"]
    assert variable in keyless.said, "and the command line says so"


def test_nobody_is_asked_who_wants_a_key(keyless: KeylessDay) -> None:
    assert set(keyless.market.server.requests.by_host()) <= KEYLESS_HOSTS


def test_the_summary_is_for_people(keyless: KeylessDay, tmp_path: Path) -> None:
    assert f"{FIRST}: " in keyless.said
    assert "degraded" in keyless.said
