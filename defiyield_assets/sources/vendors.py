"""Addresses, key places and published limits of every vendor (vendors.md).

Lives here: the settings of each vendor, and what an installation changes of them. Not here: where keys come from
(settings) or how the limits are kept (pacing.py, store/budgets.py).
"""

from collections.abc import Mapping
from dataclasses import replace

import httpx

from defiyield_assets.errors import ConfigurationError
from defiyield_assets.settings import VendorOverride
from defiyield_assets.sources.redaction import VendorSettings

ETHPLORER_FREE_KEY = "freekey"
"""Ethplorer's public key: 100 operations an answer, about 30 days back."""
SERVED_KEY = "key-of-a-served-market"
"""What a server that speaks for the vendors gets where they would get a key: the question keeps its shape."""
COINGECKO_PRO_URL = "https://pro-api.coingecko.com/api/v3"

_MINUTE = 60.0
_DEFAULTS = (
    # Without a key about 300 a minute are tolerated (third-party figure): a 429 slows us down (pacing.py).
    VendorSettings("defillama_yields", "https://yields.llama.fi", None, 300, _MINUTE, 8),
    VendorSettings("defillama_coins", "https://coins.llama.fi", None, 300, _MINUTE, 4),
    VendorSettings(
        "coinmarketcap",
        "https://pro-api.coinmarketcap.com",
        None,
        30,
        _MINUTE,
        2,
        per_month=15_000,
        has_credits=True,
        key_header="X-CMC_PRO_API_KEY",
    ),
    VendorSettings(
        "coingecko",
        "https://api.coingecko.com/api/v3",
        None,
        30,
        _MINUTE,
        2,
        per_month=10_000,
        key_header="x-cg-demo-api-key",
    ),
    # The free plan; `TIME_SERIES_DAILY_ADJUSTED` is not in it.
    VendorSettings("alpha_vantage", "https://www.alphavantage.co", None, 5, _MINUTE, 1, per_day=25, key_param="apikey"),
    VendorSettings("ethgastracker", "https://www.ethgastracker.com", None, 30, _MINUTE, 1, key_param="apiKey"),
    VendorSettings("ethplorer", "https://api.ethplorer.io", None, 10, 1.0, 4, key_param="apiKey"),
    VendorSettings("etherscan", "https://api.etherscan.io/v2", None, 3, 1.0, 3, per_day=100_000, key_param="apikey"),
    # Neither Pendle nor public nodes publish a figure: a pace that nobody minds.
    VendorSettings("pendle", "https://api-v2.pendle.finance/core", None, 60, _MINUTE, 2),
    VendorSettings("ethereum_node", "https://ethereum-rpc.simulated", None, 5, 1.0, 4),
    VendorSettings("fred", "https://api.stlouisfed.org/fred", None, 120, _MINUTE, 2, key_param="api_key"),
    # Plans differ, and no figure is published for all of them: DEFIYIELD_VENDORS tells the month of the own one.
    VendorSettings(
        "cryptopanic", "https://cryptopanic.com/api/developer/v2", None, 60, _MINUTE, 1, key_param="auth_token"
    ),
    VendorSettings("slack", "https://hooks.slack.com", None, 1, 1.0, 1),
    # A host of our own: it answers one question after the other, and large models think for minutes.
    VendorSettings("ollama", "http://127.0.0.1:11434", None, 600, _MINUTE, 1, read_seconds=240.0),
)
OUR_OWN = frozenset({"ollama"})
"""Hosts that belong to the installation: no server speaks for them."""


def default_vendors(
    keys: Mapping[str, str],
    *,
    coingecko_plan: str = "demo",
    alpha_vantage_plan: str = "free",
    node_url: str | None = None,
    ollama_url: str | None = None,
) -> dict[str, VendorSettings]:
    """Settings of every vendor by name; `keys` maps vendor names to keys (absent or empty: asked without a key).

    Ethplorer without a key of its own is asked with the public one, at its pace: 20 a minute evenly spaced are never 2
    in one second. `node_url` is the secret address of an Ethereum node, `ollama_url` that of another Ollama host than
    this machine. Unknown names in `keys` are ignored.
    """
    vendors = {settings.name: replace(settings, api_key=keys.get(settings.name) or None) for settings in _DEFAULTS}
    if vendors["ethplorer"].api_key in (None, ETHPLORER_FREE_KEY):
        vendors["ethplorer"] = replace(
            vendors["ethplorer"],
            api_key=ETHPLORER_FREE_KEY,
            max_calls=20,
            per_seconds=_MINUTE,
            concurrency=1,
            per_hour=100,
            per_day=1_000,
        )
    if coingecko_plan == "pro":
        # The month of a paid plan is the contract's: DEFIYIELD_VENDORS tells it.
        vendors["coingecko"] = replace(
            vendors["coingecko"],
            base_url=COINGECKO_PRO_URL,
            key_header="x-cg-pro-api-key",
            max_calls=500,
            concurrency=4,
            per_month=None,
        )
    if alpha_vantage_plan == "premium":
        vendors["alpha_vantage"] = replace(vendors["alpha_vantage"], max_calls=75, concurrency=4, per_day=None)
    vendors["ethereum_node"] = replace(vendors["ethereum_node"], secret_url=node_url)
    if ollama_url is not None:
        vendors["ollama"] = replace(vendors["ollama"], base_url=ollama_url.rstrip("/"))
    return vendors


def adjusted(
    vendors: Mapping[str, VendorSettings], overrides: Mapping[str, VendorOverride]
) -> dict[str, VendorSettings]:
    """The vendors with an installation's own addresses and limits; ConfigurationError for a vendor that is none.

    An own `per_minute` takes the place of the published pace. An own address of the node may be a secret: it becomes
    the `secret_url`, and is asked exactly as it is.
    """
    unknown = sorted(set(overrides) - set(vendors))
    if unknown:
        raise ConfigurationError(
            f"DEFIYIELD_VENDORS names {', '.join(unknown)}; the vendors are {', '.join(sorted(vendors))}"
        )
    return {
        name: _adjusted(settings, overrides[name]) if name in overrides else settings
        for name, settings in vendors.items()
    }


def _adjusted(settings: VendorSettings, override: VendorOverride) -> VendorSettings:
    changes = override.model_dump(exclude_none=True, exclude={"per_minute", "base_url"})
    if override.per_minute is not None:
        changes |= {"max_calls": override.per_minute, "per_seconds": _MINUTE}
    if override.base_url is not None:
        is_node = settings.name == "ethereum_node"
        changes |= {"secret_url": override.base_url} if is_node else {"base_url": override.base_url.rstrip("/")}
    return replace(settings, **changes)


def served_by(server: str, vendors: Mapping[str, VendorSettings]) -> dict[str, VendorSettings]:
    """The vendors as one server speaks for them: below `<server>/<host>/<path of the real address>`, the node too.

    No key leaves the installation: whoever is asked with one is asked with `SERVED_KEY` (Ethplorer's public key stays).
    """
    root = server.rstrip("/")

    def address(settings: VendorSettings) -> str:
        real = httpx.URL(settings.base_url)
        return f"{root}/{real.host}{real.path.rstrip('/')}"

    def key(settings: VendorSettings) -> str | None:
        return settings.api_key if settings.api_key in (None, ETHPLORER_FREE_KEY) else SERVED_KEY

    return {
        name: settings
        if name in OUR_OWN
        else replace(settings, base_url=address(settings), api_key=key(settings), secret_url=None)
        for name, settings in vendors.items()
    }


def without_pacing(vendors: Mapping[str, VendorSettings]) -> dict[str, VendorSettings]:
    """The same vendors with no limit worth waiting for: recorded and simulated markets do not mind."""
    return {
        name: replace(settings, max_calls=1_000_000, per_seconds=1.0, per_hour=None, per_day=None, per_month=None)
        for name, settings in vendors.items()
    }
