"""Everything that has a price, from the policy's token list.

Lives here: ids and vendor ids of instruments. Not here: the prices (curation.py) or the verdict on a token
(selection/registry.py).
"""

from collections.abc import Iterable

import pandas as pd

from defiyield_assets.domain.policy import Token

INSTRUMENT_COLUMNS = (
    "instrument_id",
    "type",
    "symbol",
    "calendar",
    "chain",
    "address",
    "decimals",
    "cmc_id",
    "coingecko_id",
    "alpha_vantage_symbol",
    "price_scale",
    "listed_at",
    "delisted_at",
)


def build_instruments(tokens: Iterable[Token]) -> pd.DataFrame:
    """One `instruments` row per token, keyed `<chain>:<address>` in lower case; quotes are in USD, unscaled."""
    rows = [
        (
            token.instrument_id,
            "crypto",
            token.symbol,
            "24x7",
            token.chain,
            token.address,
            token.decimals,
            token.cmc_id,
            token.coingecko_id,
            None,
            1.0,
            None,
            None,
        )
        for token in sorted(tokens, key=lambda token: token.instrument_id)
    ]
    frame = pd.DataFrame(rows, columns=list(INSTRUMENT_COLUMNS), dtype=object)
    return frame.astype({"price_scale": float})
