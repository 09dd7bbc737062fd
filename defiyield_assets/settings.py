"""Settings of one installation: environment variables and the places where things are kept.

Lives here: names, types and defaults of every `DEFIYIELD_*` variable. Not here: the treasury's policy (config/).
"""

import os
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Literal

from platformdirs import user_state_path
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from defiyield_assets.addresses import DATABASE_EXAMPLES, is_database_url
from defiyield_assets.errors import ConfigurationError

PROJECT_ROOT = Path(__file__).resolve().parent.parent
Market = Literal["live", "simulated", "recorded"]

KEY_VARIABLES = {
    "coinmarketcap": ("DEFIYIELD_COINMARKETCAP_API_KEY", "open, high, low and market caps of tokens"),
    "coingecko": ("DEFIYIELD_COINGECKO_API_KEY", "a second source of bars and market caps"),
    "alpha_vantage": (
        "DEFIYIELD_ALPHA_VANTAGE_API_KEY",
        "daily bars, splits, dividends and earnings of shares (daily bars take a premium plan)",
    ),
    "ethgastracker": ("DEFIYIELD_ETHGASTRACKER_API_KEY", "hourly effective gas prices"),
    "ethereum_node": (
        "DEFIYIELD_ETHEREUM_RPC_URL",
        "hourly base fees and rates of shares from a node of Ethereum, which needs no key",
    ),
    "ethplorer": ("DEFIYIELD_ETHPLORER_API_KEY", "more than the free key's 1,000 calls a day for balances"),
    "etherscan": ("DEFIYIELD_ETHERSCAN_API_KEY", "transactions of our wallets"),
    "fred": ("DEFIYIELD_FRED_API_KEY", "macro series"),
    "cryptopanic": ("DEFIYIELD_CRYPTOPANIC_API_KEY", "news of coins and their sentiment"),
}
"""Vendor -> (variable of its key or, for a node, its address; what it adds)."""


class VendorOverride(BaseModel):
    """What an installation says of one vendor otherwise than sources/vendors.py; null keeps the default."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    base_url: str | None = None
    per_minute: int | None = Field(None, ge=1)
    per_day: int | None = Field(None, ge=1)
    per_month: int | None = Field(None, ge=1)
    concurrency: int | None = Field(None, ge=1)


class Settings(BaseSettings):
    """All settings; every field is the environment variable `DEFIYIELD_<FIELD>`."""

    model_config = SettingsConfigDict(
        env_prefix="DEFIYIELD_", extra="ignore", frozen=True, env_ignore_empty=True, hide_input_in_errors=True
    )

    market: Market = Field("simulated", description="Whose answers are read: vendors, a folder or simulation")
    state_dir: Path | None = Field(None, description="Folder of databases, logs and reports")
    database_url: str | None = Field(None, description="SQLAlchemy URL of the warehouse; default: SQLite in state_dir")
    recorded_data: Path | None = Field(None, description="Recorded vendor data (docs/how-to/recorded-data.md)")
    config_dir: Path | None = Field(None, description="Folder whose YAML files replace those of the package")
    drop_folder: Path | None = Field(None, description="Folder whose CSV files are imported by themselves")
    first_day: date = Field(date(2024, 1, 1), description="First daily partition")
    docs_url: str = Field("http://127.0.0.1:3001/", description="Where the built documentation is served")
    retry_delay_seconds: float = Field(30.0, ge=0.0, description="First delay before an ingestion asset tries again")
    costly_budget_seconds: float = Field(
        30.0, ge=0.0, description="What the first weekly evaluation of one costly forecasting model may take"
    )
    market_seed: int = Field(7, description="Seed of the simulated market")
    slack_webhook_url: SecretStr | None = Field(None, description="Incoming webhook; without it messages stay local")
    slack_bot_token: SecretStr | None = Field(None, description="Bot token, used when there is no webhook")
    slack_channel: str | None = Field(None, description="Channel of the bot")
    slack_api_url: str | None = Field(
        None, description="Address of Slack's Web API for the bot; default: https://slack.com/api/"
    )
    coinmarketcap_api_key: SecretStr | None = None
    ethgastracker_api_key: SecretStr | None = None
    ethplorer_api_key: SecretStr | None = None
    etherscan_api_key: SecretStr | None = None
    fred_api_key: SecretStr | None = None
    coingecko_api_key: SecretStr | None = None
    coingecko_plan: Literal["demo", "pro"] = Field("demo", description="Plan of the CoinGecko key")
    alpha_vantage_api_key: SecretStr | None = None
    alpha_vantage_plan: Literal["free", "premium"] = Field(
        "free", description="Plan of the Alpha Vantage key: 5 calls a minute and 25 a day, or 75 a minute"
    )
    ethereum_rpc_url: SecretStr | None = Field(
        None, description="JSON-RPC address of an Ethereum node, for gas and rates of shares"
    )
    vendors: dict[str, VendorOverride] = Field(
        default_factory=dict, description="JSON: other addresses and limits of vendors, by name"
    )
    vendor_server: str | None = Field(
        None, description="A server that speaks for all vendors below /<host>/, such as `defiyield simulator serve`"
    )
    signal_model: str = Field("stub", description="Model that is asked for signals (models.yaml); stub: nobody")
    ollama_url: str | None = Field(None, description="Ollama host; default: http://127.0.0.1:11434")
    simulated_faults: str | None = Field(
        None, description="JSON: faults of the simulated vendors (docs/explanation/ingestion.md)"
    )
    cryptopanic_api_key: SecretStr | None = None
    news_currencies: str = Field("", description="Currency codes whose news are read, comma separated; empty: all news")
    news_regions: str = Field("en", description="Languages or regions of news, comma separated; empty: all")
    news_first_days: int = Field(7, ge=1, le=3_650, description="How far the first reading of news goes back")
    news_reread_hours: int = Field(6, ge=1, le=720, description="News that every reading tells again, for their votes")
    news_max_pages: int = Field(200, ge=1, le=100_000, description="Pages of news that one reading asks for at most")
    fred_series: str = Field("DGS10,T10Y3M", description="FRED series to follow, comma separated")
    repair_lookback_days: int = Field(7, ge=1, le=90, description="How far the repair sensor looks back")
    repair_interval_seconds: int = Field(60, ge=5, description="Seconds between two looks of the repair sensor")
    repair_first_delay_seconds: float = Field(300.0, ge=0.0, description="Before repair 1; times 3 for each next")
    repair_max_requests: int = Field(3, ge=1, le=50, description="Repairs requested in one tick")

    @field_validator("database_url")
    @classmethod
    def _readable(cls, url: str | None) -> str | None:
        if url is not None and not is_database_url(url):
            raise ValueError(f"cannot be read as an address of a database; right would be {DATABASE_EXAMPLES}")
        return url

    @property
    def state_path(self) -> Path:
        """Where this market's databases, logs and reports are kept; one folder per market, and one for served ones."""
        if self.state_dir is not None:
            return self.state_dir
        in_checkout = Path("workspace.yaml").is_file()
        return (Path(".state") if in_checkout else user_state_path("defiyield")) / self.warehouse_market

    @property
    def warehouse_market(self) -> str:
        """The market that the warehouse is claimed for: what a server tells never mixes with what vendors told."""
        return "served" if self.market == "live" and self.vendor_server is not None else self.market

    @property
    def warehouse_url(self) -> str:
        """SQLAlchemy URL of the warehouse."""
        return self.database_url or f"sqlite:///{(self.state_path / 'warehouse.sqlite').resolve()}"

    @property
    def chain_path(self) -> Path:
        """State of the simulated chain."""
        return self.state_path / "chain.sqlite"

    @property
    def reports_path(self) -> Path:
        """Folder of rendered reports and of the local Slack sink."""
        return self.state_path / "reports"

    def configured_keys(self) -> dict[str, str]:
        """API keys that are set, by vendor."""
        values = {vendor: getattr(self, f"{vendor}_api_key", None) for vendor in KEY_VARIABLES}
        return {vendor: value.get_secret_value() for vendor, value in values.items() if value is not None}

    def require_recorded_data(self) -> Path:
        """The folder of recorded data; ConfigurationError when it is not named or not there."""
        if self.recorded_data is None:
            raise ConfigurationError(
                "the recorded market needs a folder of recorded data: set DEFIYIELD_RECORDED_DATA or --recorded-data "
                "(docs/how-to/recorded-data.md describes its layout)"
            )
        if not self.recorded_data.is_dir():
            raise ConfigurationError(f"DEFIYIELD_RECORDED_DATA={self.recorded_data} is not a folder")
        return self.recorded_data


def load_settings() -> Settings:
    """Settings of the environment as it is now; ConfigurationError names the variable that is wrong."""
    return _settings_of(tuple(item for item in os.environ.items() if item[0].upper().startswith("DEFIYIELD_")))


@lru_cache(maxsize=8)
def _settings_of(_variables: tuple[tuple[str, str], ...]) -> Settings:
    """The settings of these variables: reading them takes milliseconds, and every request to a vendor asks."""
    try:
        return Settings()  # type: ignore[call-arg, unused-ignore]
    except ValidationError as error:
        told = [
            (".".join(str(part) for part in item["loc"]).upper(), item["msg"].removeprefix("Value error, "))
            for item in error.errors()
        ]
        problems = "; ".join(f"DEFIYIELD_{name}: {words}" for name, words in told)
        raise ConfigurationError(f"environment: {problems}") from error
    except SettingsError as error:  # of what has to be JSON; its cause may repeat the value, which may hold a secret
        raise ConfigurationError("environment: DEFIYIELD_VENDORS: cannot be read as JSON") from error
