"""The shape of the configuration files: which keys there are, their types and their bounds.

Lives here: pydantic models of policy.yaml, tokens.yaml, protocols.yaml, accounts.yaml, instruments.yaml and
csv_sources.yaml. Not here: reading (reading.py), cross checks (loader.py, instruments.py, csv_sources.py) or the types
that rules read (domain).
"""

import re
from collections.abc import Sequence
from dataclasses import MISSING, fields
from datetime import date
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    create_model,
    model_validator,
)

from defiyield_assets.domain.policy import GasUnits, Parameters
from defiyield_assets.domain.prices.csv_sources import VolumeUnit
from defiyield_assets.domain.prices.instruments import InstrumentType

ADDRESS = re.compile(r"0x[0-9a-f]{40}")
TRANSACTION = re.compile(r"0x[0-9a-f]{64}")
DIGITS = re.compile(r"[0-9]{1,78}")
NATIVE_TOKEN = "native"  # noqa: S105 - how the tables spell a chain's own coin


def _address(value: str) -> str:
    lowered = value.strip().lower()
    if not ADDRESS.fullmatch(lowered):
        raise ValueError("an address is 0x and 40 hexadecimal digits, in quotes")
    return lowered


def _transaction(value: str) -> str:
    lowered = value.strip().lower()
    if not TRANSACTION.fullmatch(lowered):
        raise ValueError("a transaction is 0x and 64 hexadecimal digits, in quotes")
    return lowered


def _token(value: str) -> str:
    return NATIVE_TOKEN if value.strip().lower() == NATIVE_TOKEN else _address(value)


def _name(value: str) -> str:
    if not value.strip() or value != value.strip():
        raise ValueError("a name must not be empty nor start or end with a space")
    return value


Address = Annotated[str, AfterValidator(_address)]
Name = Annotated[str, AfterValidator(_name)]
Share = Annotated[float, Field(ge=0, le=1)]
Depth = Annotated[float, Field(gt=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
ZeroUp = Annotated[float, Field(ge=0)]
Days = Annotated[int, Field(ge=1)]
WindowDays = Annotated[int, Field(ge=1, le=30)]
Access = Literal["open", "permissioned"]
BarSource = Literal["coinmarketcap", "coingecko", "defillama_coins", "alpha_vantage", "csv", "observations"]


class Strict(BaseModel):
    """Refuses keys that it does not know and numbers that are none."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Dated(Strict):
    """An entry of a list with its first day and the day from which it is gone."""

    added_on: date | None = None
    removed_on: date | None = None

    def is_in_force(self, day: date) -> bool:
        """Whether the entry counts on a day: from `added_on` on, no longer on `removed_on`."""
        return (self.added_on is None or self.added_on <= day) and (self.removed_on is None or day < self.removed_on)

    @model_validator(mode="after")
    def _ends_after_start(self) -> "Dated":
        if self.added_on and self.removed_on and self.removed_on <= self.added_on:
            raise ValueError(f"removed_on {self.removed_on} must be after added_on {self.added_on}")
        return self


class TokenEntry(Dated):
    """One approved token."""

    symbol: Name
    chain: Name
    address: Address
    decimals: Annotated[int, Field(ge=0, le=36)]
    issuer: Name
    peg: Literal["usd", "accruing", "other"] = "usd"
    rebasing: bool = False
    access: Access = "open"
    exit_days: Annotated[int, Field(ge=0)] = 0
    coingecko_id: Name | None = None
    cmc_id: Annotated[int, Field(ge=1)] | None = None
    slippage_per_million_usd: Share = 0.0


class BarredEntry(Dated):
    """One blacklisted token."""

    symbol: Name
    chain: Name
    address: Address | None = None


class ProtocolEntry(Dated):
    """One approved protocol, written as its slug or as {slug, added_on, removed_on}."""

    slug: Name


def _units(value: Any) -> Any:
    """Base units, whole: written in quotes, because YAML reads 1e18 as a text and 1.0e18 as a rounded number."""
    if isinstance(value, str) and DIGITS.fullmatch(value.strip()):
        return int(value.strip())
    if type(value) is not int:
        raise ValueError("base units are a whole number in quotes, without point and exponent")
    return value


Units = Annotated[int, BeforeValidator(_units), Field(gt=0, lt=2**256)]


class TokenAmountEntry(Strict):
    """So many base units of a token."""

    token: Annotated[str, AfterValidator(_token)]
    amount: Units
    decimals: Annotated[int, Field(ge=0, le=255)] | None = None


class OpeningBalanceEntry(TokenAmountEntry):
    """One token that a wallet held when its books were opened; `underlying` of the shares of a listed pool."""

    underlying: tuple[TokenAmountEntry, ...] = ()


class OpeningEntry(Strict):
    """What a wallet held after a block, and when that block was mined."""

    block: Annotated[int, Field(ge=0, lt=2**31)]
    time: AwareDatetime
    balances: Annotated[tuple[OpeningBalanceEntry, ...], Field(min_length=1)]


class WalletEntry(Strict):
    """One wallet."""

    name: Name
    chain_id: Annotated[int, Field(ge=1)]
    address: Address
    investable: bool = False
    permitted_tokens: tuple[Annotated[str, AfterValidator(str.lower)], ...] = ()
    opening: OpeningEntry | None = None


class LotChoiceEntry(Strict):
    """Which lots a transaction gives away of a token."""

    disposal: Annotated[str, AfterValidator(_transaction)]
    token: Annotated[str, AfterValidator(_token)]
    lots: Annotated[tuple[Name, ...], Field(min_length=1)]


def _shares(value: tuple[float, ...]) -> tuple[float, ...]:
    if abs(sum(value) - 1.0) > 1e-9:
        raise ValueError(f"the shares of a pool's tokens add up to 1, these to {sum(value)!r}")
    return value


class PoolOverrideEntry(Strict):
    """Dated facts about one pool."""

    pool_id: Name
    role: Name | None = None
    underlying_addresses: Annotated[tuple[Address, ...], Field(min_length=1)] | None = None
    maturity: date | None = None
    exit_days: Annotated[int, Field(ge=0)] | None = None
    access: Access | None = None
    since: date | None = None
    until: date | None = None
    source: str = ""
    reserve_shares: Annotated[tuple[Depth, ...], Field(min_length=2), AfterValidator(_shares)] | None = None


class PoolAliasEntry(Strict):
    """A pool id that is gone and the one under which the pool goes on."""

    old_id: Name
    new_id: Name
    since: date
    source: str = ""


class PoolContractEntry(Strict):
    """Which on-chain contract a pool is."""

    pool_id: Name
    chain_id: Annotated[int, Field(ge=1)]
    contract: Address
    share_token: Address
    share_decimals: Annotated[int, Field(ge=0, le=36)] = 18
    is_rebasing: bool = False
    source: str = "policy.yaml"


class IceboxOverrideEntry(Strict):
    """A manual word on a token."""

    chain: Name
    address: Address
    barred: bool
    reason: Name
    since: date
    expires: date | None = None


SHARES = (
    "max_pool_share",
    "max_pool_tvl_share",
    "max_protocol_share",
    "max_token_share",
    "max_chain_share",
    "cap_headroom",
    "exit_share",
    "idle_buffer_share",
    "min_position_share",
    "conversion_rate",
    "reward_haircut",
    "robust_quantile",
    "pair_reserve_ratio_min",
    "pair_reserve_ratio_max",
    "max_illiquid_share",
)
ZERO_UPS = (
    "min_transaction_usd",
    "pool_tvl_min_usd",
    "pool_apy_min",
    "token_market_cap_min_usd",
    "priority_fee_gwei",
)
WINDOWS = ("icebox_low_days", "icebox_close_days", "icebox_recovery_low_days", "icebox_recovery_close_days")
BOUNDS: dict[str, Any] = {
    **dict.fromkeys(SHARES, Share),
    **dict.fromkeys(ZERO_UPS, ZeroUp),
    **dict.fromkeys(WINDOWS, WindowDays),
    **dict.fromkeys(("icebox_low_depth", "icebox_close_depth"), Depth),
    **dict.fromkeys(("apy_plausible_max", "spike_median_multiple", "spike_robust_z"), Positive),
    **dict.fromkeys(("horizon_days", "break_even_days", "min_pools", "gap_days"), Days),
    **dict.fromkeys(("pool_age_min_days", "max_exit_days"), Annotated[int, Field(ge=0)]),
    "stuck_days": Annotated[int, Field(ge=2, le=30)],
    "max_group_share": tuple[Share, Share, Share, Share],
    "group_caps": bool,
    "objective": Literal["expected", "robust", "profit"],
    "method": Literal["milp", "lp"],
    "lot_method": Literal["fifo", "specific"],
    "confirmations": Annotated[int, Field(ge=0, le=100_000)],
    "chains": Annotated[tuple[Name, ...], Field(min_length=1)],
}
"""Type and bounds of every parameter; a test proves that none is missing."""

_gas_fields: dict[str, Any] = {
    field.name: (Annotated[int, Field(ge=21_000)], field.default) for field in fields(GasUnits)
}
GasUnitsEntry: type[Strict] = create_model("GasUnitsEntry", __base__=Strict, **_gas_fields)
_parameter_fields: dict[str, Any] = {
    field.name: (BOUNDS[field.name], field.default) for field in fields(Parameters) if field.default is not MISSING
}
ParametersEntry: type[Any] = create_model(
    "ParametersEntry",
    __base__=Strict,
    gas_units=(GasUnitsEntry, GasUnitsEntry()),
    **_parameter_fields,
)


class PolicyFile(Strict):
    """policy.yaml; `parameters` holds the fields of domain.policy.Parameters."""

    parameters: ParametersEntry = Field(default_factory=ParametersEntry)  # type: ignore[valid-type]
    pool_overrides: tuple[PoolOverrideEntry, ...] = ()
    icebox_overrides: tuple[IceboxOverrideEntry, ...] = ()
    pool_aliases: tuple[PoolAliasEntry, ...] = ()
    pool_contracts: tuple[PoolContractEntry, ...] = ()


class TokensFile(Strict):
    """tokens.yaml."""

    approved: tuple[TokenEntry, ...]
    blacklist: tuple[BarredEntry, ...] = ()


class ProtocolsFile(Strict):
    """protocols.yaml."""

    approved: tuple[ProtocolEntry, ...]
    aliases: dict[Name, Name] = Field(default_factory=dict)


class AccountsFile(Strict):
    """accounts.yaml."""

    wallets: Annotated[tuple[WalletEntry, ...], Field(min_length=1)]
    lot_choices: tuple[LotChoiceEntry, ...] = ()


class InstrumentEntry(Strict):
    """One instrument of the market part."""

    symbol: Annotated[str, Field(pattern=r"^[A-Z0-9][A-Z0-9.^/-]{0,19}$")]
    name: str = ""
    type: InstrumentType
    universe: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    calendar: Annotated[str, Field(pattern=r"^(24x7|[A-Z0-9]{4}|[A-Za-z0-9_]+)$")]
    cmc_id: Annotated[int, Field(ge=1)] | None = None
    coingecko_id: Name | None = None
    alpha_vantage_symbol: Name | None = None
    price_scale: Positive = 1.0
    benchmark: Name | None = None
    listed_at: date | None = None
    delisted_at: date | None = None

    @model_validator(mode="after")
    def _ends_after_start(self) -> "InstrumentEntry":
        if self.listed_at and self.delisted_at and self.delisted_at <= self.listed_at:
            raise ValueError(f"delisted_at {self.delisted_at} must be after listed_at {self.listed_at}")
        return self


class InstrumentsFile(Strict):
    """instruments.yaml."""

    source_priority: dict[InstrumentType, tuple[BarSource, ...]]
    instruments: tuple[InstrumentEntry, ...] = ()


class CsvSourceEntry(Strict):
    """One kind of CSV file of bars (domain/prices/csv_sources.py)."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
    files: tuple[Name, ...] = ()
    timezone: Name | None = None
    stamp: Literal["open", "close"] = "open"
    price_scale: Positive = 1.0
    interval: Name | None = None
    is_adjusted: bool | None = None
    volume_unit: VolumeUnit | None = None
    instruments: dict[Name, Name] = Field(default_factory=dict)
    left_out: tuple[Name, ...] = ()


class CsvSourcesFile(Strict):
    """csv_sources.yaml."""

    sources: tuple[CsvSourceEntry, ...] = ()


class ModelEntry(Strict):
    """One model that may be asked for signals (domain/signals/types.py)."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,79}(:[A-Za-z0-9._-]{1,40})?$")]
    training_cutoff: date
    description: str = ""


class ModelsFile(Strict):
    """models.yaml."""

    horizon_days: Annotated[int, Field(ge=1, le=365)] = 5
    universes: Annotated[tuple[Name, ...], Field(min_length=1)]
    seed: Annotated[int, Field(ge=0)] = 7
    num_predict: Annotated[int, Field(ge=64, le=8192)] = 512
    num_ctx: Annotated[int, Field(ge=1024)] = 8192
    models: tuple[ModelEntry, ...] = ()


MODELS: dict[str, type[BaseModel]] = {
    "policy.yaml": PolicyFile,
    "tokens.yaml": TokensFile,
    "protocols.yaml": ProtocolsFile,
    "accounts.yaml": AccountsFile,
    "instruments.yaml": InstrumentsFile,
    "csv_sources.yaml": CsvSourcesFile,
    "models.yaml": ModelsFile,
}


def in_full(name: str, data: Any) -> Any:
    """The content of a file with abbreviations written out: a protocol may stand as its slug alone."""
    if name != "protocols.yaml" or not isinstance(data, dict) or not isinstance(data.get("approved"), list):
        return data
    return {**data, "approved": [{"slug": item} if isinstance(item, str) else item for item in data["approved"]]}


def known_keys(name: str, location: Sequence[str | int]) -> list[str]:
    """The keys that may stand below a place of a file, to name what would have been right."""
    model: type[BaseModel] | None = MODELS[name]
    for part in location:
        if model is not None and isinstance(part, str):
            field = model.model_fields.get(part)
            model = _model_in(field.annotation) if field else None
    return sorted(model.model_fields) if model is not None else []


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model inside an annotation such as tuple[TokenEntry, ...]."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for inner in get_args(annotation) if (found := _model_in(inner))), None)
