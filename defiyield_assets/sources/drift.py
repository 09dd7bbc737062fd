"""The shape of each endpoint's answers: which fields we use, which we know and ignore, and what has changed.

Lives here: the declared shapes and the comparison. Not here: reading values (fields.py and the vendors' modules), which
raise when a used field is gone or cannot be read; this says so before the parser has to, of optional fields too, and of
fields that nobody reads yet.

A field is named by its path: `data[].tvlUsd` is in every element of the list `data`, `coins{}.prices` in every value of
the object `coins`, whose keys are ids. Types are JSON's: n number, s string, b boolean, z null, o object, l list.
"""

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

SAMPLE = 500
"""Elements of a list that are looked at, evenly spread."""
_STEP = re.compile(r"\[\]|\{\}|\.?(?:[^.\[\]{}]|\.(?= ))+")
"""One step of a path; a dot before a space is part of a name (`1. open`)."""
_TYPES = {dict: "o", list: "l", str: "s", bool: "b", int: "n", float: "n", type(None): "z"}
_WORDS = {"o": "object", "l": "list", "s": "string", "b": "boolean", "n": "number", "z": "null"}


@dataclass(frozen=True)
class Shape:
    """What an endpoint's answer is made of.

    `used`: path -> types that the parser reads. `ignored`: path -> types that were there when the client was written.
    `keyed`: objects whose keys are ids. Below a path of `ignored` nothing is looked at. `rare`: fields that may be
    absent from a whole answer without anything being wrong.
    """

    used: Mapping[str, str]
    ignored: Mapping[str, str] = field(default_factory=dict)
    keyed: frozenset[str] = frozenset()
    rare: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Drift:
    """How answers differ from the declared shape; each entry is a path, with its types where they changed."""

    new: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    """Fields that nobody reads and that are in no answer any more."""
    retyped: tuple[str, ...] = ()
    """Fields that nobody reads and that are of another type now."""
    broken: tuple[str, ...] = ()
    """Used fields that are gone or of a type that the parser does not read."""

    @property
    def is_none(self) -> bool:
        """Whether nothing has changed."""
        return not (self.new or self.missing or self.retyped or self.broken)

    def __str__(self) -> str:
        parts = {"broken": self.broken, "new": self.new, "missing": self.missing, "retyped": self.retyped}
        return "; ".join(f"{name}: {', '.join(paths)}" for name, paths in parts.items() if paths) or "no drift"


def drift_of_bodies(shape: Shape, bodies: Iterable[bytes]) -> Drift:
    """How answers of one endpoint differ from its shape, over all of them together.

    A field is gone when no element of any answer has it and there were elements to have it. A body that is no JSON is
    passed over, and so is one that is nested too deeply: the parser has refused it.
    """
    seen: dict[str, set[str]] = defaultdict(set)
    for body in bodies:
        try:
            document = json.loads(body)
            _collect(document, "", shape, seen)
        except (ValueError, RecursionError):
            continue
    known = {**shape.ignored, **shape.used}
    new = [path for path in seen if path and path not in known and not _is_implied(path, known)]
    gone = [path for path in known if path not in shape.rare and _is_gone(path, seen, shape.rare)]
    retyped = [
        f"{path} ({' or '.join(sorted(_WORDS[kind] for kind in seen[path] - set(types)))})"
        for path, types in known.items()
        if path in seen and seen[path] - set(types)
    ]
    is_used = [text for text in retyped if text.split(" (")[0] in shape.used]
    return Drift(
        tuple(sorted(new)),
        tuple(sorted(path for path in gone if path not in shape.used)),
        tuple(sorted(set(retyped) - set(is_used))),
        tuple(sorted([*(f"{path} (gone)" for path in gone if path in shape.used), *is_used])),
    )


def _is_gone(path: str, seen: Mapping[str, set[str]], rare: frozenset[str]) -> bool:
    """Whether a field is nowhere although something was there to hold it: an object, not an empty list.

    Nothing is gone below a rare field that is absent.
    """
    at = ""
    for step in _STEP.findall(path):
        if at + step not in seen:
            return step not in ("[]", "{}") and "o" in seen.get(at, ()) and at + step not in rare
        at += step
    return False


def _is_implied(path: str, known: Mapping[str, str]) -> bool:
    """Whether a path is only the way to a known one (a container), and so no field of its own."""
    return any(other.startswith((f"{path}.", f"{path}[", f"{path}{{")) for other in known)


def _collect(value: object, path: str, shape: Shape, seen: dict[str, set[str]]) -> None:
    """Note the type of a value and of everything in it under their paths."""
    seen[path].add(_TYPES.get(type(value), "s"))
    if path in shape.ignored:
        return
    if isinstance(value, list):
        step = max(1, len(value) // SAMPLE)
        for item in value[::step]:
            _collect(item, f"{path}[]", shape, seen)
    elif isinstance(value, dict):
        for name, item in value.items():
            below = f"{path}{{}}" if path in shape.keyed else f"{path}.{name}" if path else str(name)
            _collect(item, below, shape, seen)


def _fields(prefix: str, **types: str) -> dict[str, str]:
    """Fields of one holder."""
    return {f"{prefix}{name}": kinds for name, kinds in types.items()}


_AV_FIGURES = (
    *("1. open", "2. high", "3. low", "4. close", "5. adjusted close"),
    *("6. volume", "7. dividend amount", "8. split coefficient"),
)
_AV_QUARTER = (*("reportedDate", "reportedEPS", "estimatedEPS", "surprise", "surprisePercentage", "reportTime"),)
SHAPES: dict[tuple[str, str], Shape] = {
    ("defillama_yields", "/pools"): Shape(
        used=_fields(
            "data[].",
            **dict.fromkeys(("pool", "chain", "project", "symbol"), "s"),
            **dict.fromkeys(("poolMeta", "exposure", "ilRisk"), "sz"),
            **dict.fromkeys(("tvlUsd", "apy", "apyBase", "apyReward"), "nsz"),
            **dict.fromkeys(("underlyingTokens", "rewardTokens"), "lz"),
            stablecoin="bz",
            timestamp="sz",
        ),
        ignored={
            "status": "s",
            "data[].underlyingTokens": "lz",
            "data[].rewardTokens": "lz",
            **_fields(
                "data[].",
                **dict.fromkeys(("apyPct1D", "apyPct7D", "apyPct30D", "mu", "sigma", "il7d", "apyBase7d"), "nz"),
                **dict.fromkeys(("apyMean30d", "volumeUsd1d", "volumeUsd7d", "apyBaseInception", "count"), "nz"),
                predictions="oz",
                outlier="bz",
            ),
        },
        rare=frozenset({"data[].timestamp"}),
    ),
    ("defillama_yields", "/lendBorrow"): Shape(
        used=_fields("[].", pool="s", **dict.fromkeys(("totalSupplyUsd", "totalBorrowUsd", "apyBaseBorrow"), "nsz")),
        ignored=_fields(
            "[].",
            **dict.fromkeys(("apyRewardBorrow", "debtCeilingUsd", "ltv"), "nz"),
            borrowable="bz",
            mintedCoin="sz",
            underlyingTokens="lz",
            rewardTokens="lz",
            borrowFactor="nz",
        ),
        rare=frozenset({"[].rewardTokens", "[].borrowFactor"}),
    ),
    ("defillama_yields", "/chart/{pool}"): Shape(
        used=_fields("data[].", timestamp="s", **dict.fromkeys(("tvlUsd", "apy", "apyBase", "apyReward"), "nsz")),
        ignored={"status": "s", **_fields("data[].", il7d="nz", apyBase7d="nz")},
    ),
    ("defillama_yields", "/chartLendBorrow/{pool}"): Shape(
        used=_fields(
            "data[].",
            timestamp="s",
            **dict.fromkeys(("totalSupplyUsd", "totalBorrowUsd"), "nsz"),
            **dict.fromkeys(("apyBase", "apyReward", "apyBaseBorrow", "apyRewardBorrow"), "nsz"),
        ),
        ignored={"status": "s", **_fields("data[].", debtCeilingUsd="nz", ltv="nz")},
        rare=frozenset(
            f"data[].{name}" for name in ("apyBase", "apyReward", "apyRewardBorrow", "debtCeilingUsd", "ltv")
        ),
    ),
    ("defillama_coins", "/chart/{coins}"): Shape(
        used={
            "coins": "o",
            **_fields("coins{}.", prices="l", confidence="nz", decimals="nz", symbol="sz"),
            **_fields("coins{}.prices[].", timestamp="n", price="n"),
        },
        keyed=frozenset({"coins"}),
        rare=frozenset({"coins{}.confidence", "coins{}.decimals", "coins{}.symbol"}),
    ),
    ("coinmarketcap", "/v2/cryptocurrency/ohlcv/historical"): Shape(
        used={
            "data{}.id": "ns",
            **_fields("data{}.quotes[].", time_open="s"),
            **_fields(
                "data{}.quotes[].quote.USD.",
                **dict.fromkeys(("open", "high", "low", "close"), "ns"),
                volume="nsz",
                market_cap="nsz",
            ),
        },
        ignored={
            "status": "o",
            **_fields("data{}.", name="s", symbol="s"),
            **_fields("data{}.quotes[].", time_close="s", time_high="sz", time_low="sz"),
            "data{}.quotes[].quote.USD.timestamp": "s",
        },
        keyed=frozenset({"data"}),
    ),
    ("coingecko", "/coins/markets"): Shape(
        used=_fields(
            "[].",
            id="s",
            symbol="sz",
            current_price="nz",
            market_cap="nz",
            total_volume="nz",
            high_24h="nz",
            low_24h="nz",
            circulating_supply="nz",
            total_supply="nz",
            max_supply="nz",
            market_cap_rank="nz",
            last_updated="sz",
        ),
        ignored=_fields(
            "[].",
            name="s",
            image="sz",
            roi="oz",
            **dict.fromkeys(("ath_date", "atl_date"), "sz"),
            **dict.fromkeys(
                (
                    *("fully_diluted_valuation", "price_change_24h", "price_change_percentage_24h"),
                    *("ath", "atl", "ath_change_percentage", "atl_change_percentage"),
                    *("market_cap_change_24h", "market_cap_change_percentage_24h"),
                ),
                "nz",
            ),
        ),
        # Not in the vendor's documented list (vendors.md), but in its answers.
        rare=frozenset(
            f"[].{name}"
            for name in (
                *("image", "roi", "ath_change_percentage", "atl_change_percentage"),
                *("market_cap_change_24h", "market_cap_change_percentage_24h"),
            )
        ),
    ),
    ("coingecko", "/coins/{id}/ohlc"): Shape(used={"[]": "l"}, ignored={"[][]": "n"}),
    ("coingecko", "/coins/{id}/market_chart"): Shape(
        used=dict.fromkeys(("prices", "market_caps", "total_volumes"), "l"),
        ignored=dict.fromkeys(("prices[]", "market_caps[]", "total_volumes[]"), "l"),
    ),
    ("alpha_vantage", "/query"): Shape(
        used={
            **_fields("", **{"Meta Data": "o", "Time Series (Daily)": "o", "quarterlyEarnings": "l", "symbol": "s"}),
            "Meta Data.2. Symbol": "s",
            **_fields("Time Series (Daily){}.", **dict.fromkeys(_AV_FIGURES, "s")),
            "quarterlyEarnings[].fiscalDateEnding": "s",
            **_fields("quarterlyEarnings[].", **dict.fromkeys(_AV_QUARTER, "sz")),
        },
        ignored={
            **_fields("Meta Data.", **dict.fromkeys(("1. Information", "3. Last Refreshed"), "s")),
            **_fields("Meta Data.", **dict.fromkeys(("4. Output Size", "5. Time Zone"), "s")),
            "annualEarnings": "l",
        },
        keyed=frozenset({"Time Series (Daily)"}),
        # Two functions share the endpoint, and each has fields that the other lacks.
        rare=frozenset(
            {
                *("Meta Data", "Meta Data.2. Symbol", "Time Series (Daily)", "quarterlyEarnings", "symbol"),
                *("annualEarnings", "Meta Data.1. Information", "Meta Data.3. Last Refreshed"),
                *("Meta Data.4. Output Size", "Meta Data.5. Time Zone", "quarterlyEarnings[].reportTime"),
            }
        ),
    ),
    ("ethgastracker", "/api/gas/average"): Shape(
        used=_fields(
            "data.data[].", period="s", **dict.fromkeys(("baseFee", "min", "max", "median", "ethPrice"), "nsz")
        ),
        ignored={
            "data.network": "s",
            "data.lastUpdate": "n",
            **_fields("data.data[].", gasLimit="nz", gasUsed="nz", txCount="nz"),
        },
    ),
    ("ethereum_node", "/eth_feeHistory"): Shape(
        used={"result.oldestBlock": "s", "result.baseFeePerGas": "l", "result.reward": "l"},
        ignored={
            **_fields("", jsonrpc="s", id="n"),
            "result.baseFeePerGas[]": "s",
            "result.reward[]": "l",
            "result.gasUsedRatio": "l",
            "result.baseFeePerBlobGas": "l",
            "result.blobGasUsedRatio": "l",
        },
        # Since the Cancun upgrade; some nodes leave them out.
        rare=frozenset({"result.baseFeePerBlobGas", "result.blobGasUsedRatio"}),
    ),
    ("ethplorer", "/getAddressInfo/{address}"): Shape(
        used={
            "ETH": "o",
            **_fields("ETH.", rawBalance="sn", balance="n"),
            **_fields("tokens[].", tokenInfo="o", rawBalance="sn", balance="n"),
            **_fields("tokens[].tokenInfo.", address="s", decimals="snz", symbol="sz"),
        },
        ignored={
            "address": "s",
            "countTxs": "n",
            "contractInfo": "oz",
            "ETH.price": "ob",
            **_fields("tokens[].", totalIn="n", totalOut="n"),
            **_fields(
                "tokens[].tokenInfo.",
                **dict.fromkeys(("name", "owner", "totalSupply", "image", "website", "description"), "sz"),
                **dict.fromkeys(("lastUpdated", "issuancesCount", "holdersCount", "ethTransfersCount"), "nz"),
                price="obz",
            ),
        },
        rare=frozenset(
            {
                *("ETH.balance", "ETH.rawBalance", "tokens[].balance", "tokens[].rawBalance"),
                *("countTxs", "contractInfo", "ETH.price", "tokens[].totalIn", "tokens[].totalOut"),
                *(
                    f"tokens[].tokenInfo.{name}"
                    for name in (
                        *("symbol", "decimals", "name", "owner", "totalSupply", "image", "website", "description"),
                        *("lastUpdated", "issuancesCount", "holdersCount", "ethTransfersCount", "price"),
                    )
                ),
            }
        ),
    ),
    ("etherscan", "/api"): Shape(
        used={
            "status": "sn",
            **_fields("result[].", **dict.fromkeys(("hash", "blockNumber", "timeStamp", "from", "to", "value"), "sn")),
            **_fields("result[].", **dict.fromkeys(("gasUsed", "gasPrice", "isError", "contractAddress"), "sn")),
            **_fields("result[].", **dict.fromkeys(("tokenDecimal", "tokenSymbol", "functionName"), "snz")),
        },
        ignored={
            "message": "s",
            "jsonrpc": "s",
            "id": "n",
            **_fields(
                "result[].",
                **dict.fromkeys(
                    (
                        *("nonce", "blockHash", "transactionIndex", "gas", "input", "cumulativeGasUsed"),
                        *("confirmations", "methodId", "txreceipt_status", "tokenName", "traceId", "type", "errCode"),
                    ),
                    "snz",
                ),
            ),
        },
        # Three actions share the endpoint, and each has fields that the others lack; a block's number a node tells.
        rare=frozenset(
            {"jsonrpc", "id"}
            | {
                f"result[].{name}"
                for name in (
                    *("gasUsed", "gasPrice", "isError", "contractAddress", "tokenDecimal", "tokenSymbol"),
                    *("functionName", "nonce", "blockHash", "transactionIndex", "gas", "input", "cumulativeGasUsed"),
                    *("confirmations", "methodId", "txreceipt_status", "tokenName", "traceId", "type", "errCode"),
                )
            }
        ),
    ),
    ("fred", "/series/observations"): Shape(
        used={
            **_fields("", count="n"),
            **_fields("observations[].", date="s", realtime_start="s", value="s"),
        },
        ignored={
            "units": "s",
            **dict.fromkeys(("realtime_start", "realtime_end", "observation_start", "observation_end"), "s"),
            **dict.fromkeys(("file_type", "order_by", "sort_order", "output_type"), "sn"),
            **dict.fromkeys(("offset", "limit"), "n"),
            "observations[].realtime_end": "s",
        },
    ),
    ("fred", "/series"): Shape(
        used=_fields("seriess[].", id="s", frequency_short="s", units="s"),
        ignored={
            **dict.fromkeys(("realtime_start", "realtime_end"), "s"),
            **_fields(
                "seriess[].",
                **dict.fromkeys(("realtime_start", "realtime_end", "observation_start", "observation_end"), "s"),
                **dict.fromkeys(("title", "frequency", "units_short", "seasonal_adjustment", "last_updated"), "s"),
                **dict.fromkeys(("seasonal_adjustment_short", "notes"), "s"),
                popularity="n",
                group_popularity="n",
            ),
        },
        rare=frozenset({"seriess[].notes", "seriess[].group_popularity", "seriess[].popularity"}),
    ),
    ("pendle", "/v1/markets/all"): Shape(
        used=_fields("markets[].", name="s", address="s", expiry="s", pt="sz", yt="sz", sy="sz", underlyingAsset="sz"),
    ),
}
"""(vendor, endpoint) -> shape, of every endpoint that a daily run asks."""
