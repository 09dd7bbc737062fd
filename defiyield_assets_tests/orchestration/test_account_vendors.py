"""Etherscan and Ethplorer tell the same token transfers of our wallets, under the keys that are stored.

Lives here: five days of the closed loop. Not here: recorded answers and single fields (sources/).
"""

import pandas as pd

from defiyield_assets.domain.days import market_stamp
from defiyield_assets.domain.ledger.ordinals import merge_views
from defiyield_assets.simulator import chain_answers
from defiyield_assets.sources.account_rows import account_frame
from defiyield_assets.sources.etherscan import parse_token_transfers
from defiyield_assets.sources.ethplorer import parse_operations
from defiyield_assets.store import schema
from defiyield_assets_tests.installations import Loop

KEY = ["chain_id", "tx_hash", "kind", "ordinal", "date", "token_address", "from_address", "to_address", "value"]


def keys(frame: pd.DataFrame) -> list[list[object]]:
    rows: list[list[object]] = frame.sort_values(KEY[:4])[KEY].to_numpy().tolist()
    return rows


def test_both_account_vendors_give_the_transfers_of_the_simulated_chain_the_same_keys(closed_loop: Loop) -> None:
    market = (closed_loop.installation.definitions.resources or {})["market"]
    stamp, chain = market_stamp(closed_loop.days[-1]), market.simulation.chain
    views: list[list[pd.DataFrame]] = [[], []]
    for wallet in sorted(chain.world.wallets):
        asked = {"module": "account", "action": "tokentx", "address": wallet}
        told = chain_answers.etherscan(chain, stamp, asked)
        history = chain_answers.address_history(chain, stamp, wallet, {"limit": "1000"}, {})
        views[0].append(account_frame(parse_token_transfers(told, 1).rows))
        views[1].append(account_frame(parse_operations(history)))
        assert keys(views[0][-1]) == keys(views[1][-1])
    ours, theirs = (merge_views(seen) for seen in views)
    assert len(ours) >= 20
    assert keys(ours) == keys(theirs)
    stored = closed_loop.installation.rows(schema.account_transactions)
    assert keys(ours[ours["date"] <= closed_loop.days[-1]]) == keys(stored[stored["kind"] == "token"])
