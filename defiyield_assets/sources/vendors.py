"""Addresses, key places and published limits of every vendor (vendors.md).

Lives here: the default settings of each vendor. Not here: where keys come from (settings) or how the limits are kept
(transport.py).
"""

from collections.abc import Mapping
from dataclasses import replace

from defiyield_assets.sources.redaction import VendorSettings

ETHPLORER_FREE_KEY = "freekey"
"""Ethplorer's public key: 20 calls a minute, 100 operations an answer, about 30 days back."""

_MINUTE = 60.0
_DEFAULTS = (
    # Without a key about 300 a minute are tolerated (third-party figure).
    VendorSettings("defillama_yields", "https://yields.llama.fi", None, 300, _MINUTE, 8),
    VendorSettings("defillama_coins", "https://coins.llama.fi", None, 300, _MINUTE, 4),
    VendorSettings(
        "coinmarketcap", "https://pro-api.coinmarketcap.com", None, 30, _MINUTE, 2, key_header="X-CMC_PRO_API_KEY"
    ),
    VendorSettings("ethgastracker", "https://www.ethgastracker.com", None, 30, _MINUTE, 1, key_param="apiKey"),
    VendorSettings("ethplorer", "https://api.ethplorer.io", None, 10, 1.0, 4, key_param="apiKey"),
    VendorSettings("etherscan", "https://api.etherscan.io/v2", None, 3, 1.0, 3, key_param="apikey"),
    VendorSettings("fred", "https://api.stlouisfed.org/fred", None, 120, _MINUTE, 2, key_param="api_key"),
    VendorSettings("slack", "https://hooks.slack.com", None, 1, 1.0, 1),
)


def default_vendors(keys: Mapping[str, str]) -> dict[str, VendorSettings]:
    """Settings of every vendor by name; `keys` maps vendor names to keys (absent or empty: asked without a key).

    Ethplorer without a key of its own is asked with the public one, at its pace. Unknown names in `keys` are ignored.
    """
    vendors = {settings.name: replace(settings, api_key=keys.get(settings.name) or None) for settings in _DEFAULTS}
    if vendors["ethplorer"].api_key in (None, ETHPLORER_FREE_KEY):
        vendors["ethplorer"] = replace(
            vendors["ethplorer"], api_key=ETHPLORER_FREE_KEY, max_calls=20, per_seconds=_MINUTE, concurrency=1
        )
    return vendors


def without_pacing(vendors: Mapping[str, VendorSettings]) -> dict[str, VendorSettings]:
    """The same vendors with no limit worth waiting for: recorded and simulated markets do not mind."""
    return {name: replace(settings, max_calls=1_000_000, per_seconds=1.0) for name, settings in vendors.items()}
