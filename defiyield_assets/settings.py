"""Settings of one installation: environment variables and the places where things are kept.

Lives here: names, types and defaults of every `DEFIYIELD_*` variable. Not here: the treasury's policy (config/).
"""

import os
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from platformdirs import user_state_path
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from defiyield_assets.addresses import DATABASE_EXAMPLES, is_database_url
from defiyield_assets.errors import ConfigurationError
from defiyield_assets.secret_files import secrets_of_files

PROJECT_ROOT = Path(__file__).resolve().parent.parent
Market = Literal["live", "simulated", "recorded"]
ExecutorName = Literal["in_process", "multiprocess", "celery", "kubernetes"]

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
    """All settings; every field is the environment variable `DEFIYIELD_<FIELD>`.

    A secret one (`secret_fields`) may be given as a file instead, which `DEFIYIELD_<FIELD>_FILE` names.
    """

    model_config = SettingsConfigDict(
        env_prefix="DEFIYIELD_", extra="ignore", frozen=True, env_ignore_empty=True, hide_input_in_errors=True
    )

    market: Market = Field("simulated", description="Whose answers are read: vendors, a folder or simulation")
    state_dir: Path | None = Field(None, description="Folder of databases, logs and reports")
    log_format: Literal["text", "json"] = Field(
        "text", description="Lines that commands log to standard error: text, or one JSON object each"
    )
    database_url: str | None = Field(None, description="SQLAlchemy URL of the warehouse; default: SQLite in state_dir")
    pg_bin: Path | None = Field(None, description="Folder of PostgreSQL's client programs; default: those on PATH")
    recorded_data: Path | None = Field(None, description="Recorded vendor data (docs/how-to/recorded-data.md)")
    config_dir: Path | None = Field(None, description="Folder whose YAML files replace those of the package")
    drop_folder: Path | None = Field(None, description="Folder whose CSV files are imported by themselves")
    first_day: date = Field(date(2024, 1, 1), description="First daily partition")
    docs_url: str = Field("http://127.0.0.1:3001/", description="Where the built documentation is served")
    retry_delay_seconds: float = Field(30.0, ge=0.0, description="First delay before an ingestion asset tries again")
    costly_budget_seconds: float = Field(
        30.0, ge=0.0, description="What the first weekly evaluation of one costly forecasting model may take"
    )
    pictures: bool = Field(True, description="Draw pictures into the metadata of assets; a day is quicker without")
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
    retention_archive_days: int = Field(
        0, ge=0, description="Days that vendors' answers are kept, for `defiyield rebuild`; 0: for ever"
    )
    retention_runs_days: int = Field(
        180,
        ge=0,
        description="Days that Dagster's runs with their events, outcomes and Slack's claims are kept; 0: ever",
    )
    retention_logs_days: int = Field(
        90, ge=0, description="Days that logs of steps, files of reports and past budgets are kept; 0: for ever"
    )
    pool_shards: int = Field(
        1, ge=1, le=64, description="Steps in which quality and metrics of pools are measured, for many workers"
    )
    executor: ExecutorName = Field("in_process", description="Where the steps of a run are executed")
    executor_steps: int | None = Field(
        None, ge=1, description="Steps of one run at once with multiprocess (default: one a core) and kubernetes (all)"
    )
    celery_broker_url: SecretStr | None = Field(None, description="Redis of Celery's tasks and their results")
    celery_redelivery_seconds: int = Field(
        3600, ge=5, description="When a step is given to another worker because its own is silent: longer than any step"
    )
    console_tokens: SecretStr | None = Field(
        None, description="Who may use the console: name:token, comma separated; needed beyond loopback"
    )
    console_hosts: str = Field(
        "", description="Names under which the console is asked for besides this machine's own, comma separated"
    )
    console_is_https: bool = Field(False, description="The console is only reached by HTTPS, through a proxy")
    console_database_url: SecretStr | None = Field(
        None, description="Warehouse as the console reads it, by a role that can do nothing else; default: database_url"
    )
    console_dagster_url: str = Field(
        "http://127.0.0.1:3000/", description="Where Dagster's UI is served, for links to assets"
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - pydantic's
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - pydantic's
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - pydantic's
    ) -> tuple[Any, ...]:
        """What the caller says, then the environment, then files that the environment names."""
        return init_settings, env_settings, lambda: secrets_of_files(os.environ, secret_fields())

    @field_validator("database_url")
    @classmethod
    def _readable(cls, url: str | None) -> str | None:
        if url is not None and not is_database_url(url):
            raise ValueError(f"cannot be read as an address of a database; right would be {DATABASE_EXAMPLES}")
        return url

    @field_validator("retention_runs_days")
    @classmethod
    def _beyond_repair(cls, days: int, told: ValidationInfo) -> int:
        lookback = told.data.get("repair_lookback_days", 0)
        if 0 < days <= lookback:
            raise ValueError(
                f"{days} is too few: the repair sensor looks at the runs of {lookback} days "
                f"(DEFIYIELD_REPAIR_LOOKBACK_DAYS); right would be {lookback + 1} or more, or 0 for ever"
            )
        return days

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
    def own_config_path(self) -> Path:
        """Folder of configuration files that the program writes, where `config_dir` names none; may be absent."""
        return self.state_path / "config"

    @property
    def config_path(self) -> Path | None:
        """The folder whose files are in force: `config_dir`, else that in the state folder where it is there; None:
        the shipped files.
        """
        return self.config_dir or (self.own_config_path if self.own_config_path.is_dir() else None)

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


def secret_fields() -> tuple[str, ...]:
    """Settings that may be given as a file: keys and tokens, and addresses that can hold a password."""
    is_secret = {name for name, field in Settings.model_fields.items() if "SecretStr" in str(field.annotation)}
    return tuple(name for name in Settings.model_fields if name in is_secret or name == "database_url")


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
    except (
        SettingsError,
        RecursionError,
    ) as error:  # of what has to be JSON; its cause may repeat the value, which may hold a secret
        raise ConfigurationError("environment: DEFIYIELD_VENDORS: cannot be read as JSON") from error
