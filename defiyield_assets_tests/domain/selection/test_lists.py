"""Tests of domain/selection/lists.py and domain/policy_codec.py."""

import json
from dataclasses import replace
from datetime import date

import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from defiyield_assets.config.loader import load_policy
from defiyield_assets.domain.policy import (
    BarredToken,
    GasUnits,
    IceboxOverride,
    Parameters,
    Policy,
    PoolOverride,
    Token,
    Wallet,
)
from defiyield_assets.domain.policy_codec import policy_from_json, policy_hash, policy_to_json
from defiyield_assets.domain.selection.icebox import advance_icebox
from defiyield_assets.domain.selection.lists import build_allocation_snapshot, build_policy_snapshot
from defiyield_assets.store import schema
from defiyield_assets.store.validation import require_valid
from defiyield_assets_tests.domain.selection.cases import DAI, DAY, FRAX, OUSG, USDC, WARM, bar, bars, policy


def test_policy_snapshot_holds_the_policy_and_its_hash() -> None:
    rules = policy(pool_overrides=(PoolOverride("p", role="vault"), PoolOverride("q", until=date(2020, 1, 1))))
    frame = build_policy_snapshot(rules, DAY)
    require_valid(schema.policy_snapshot, frame)
    row = frame.iloc[0]
    assert policy_from_json(row["policy_json"]) == rules
    assert row["policy_hash"] == policy_hash(rules)
    assert (row["n_tokens"], row["n_protocols"], row["n_overrides"]) == (8, 3, 1)


def test_allocation_snapshot_is_the_lists_after_the_icebox_has_spoken() -> None:
    rules = policy(tokens=(USDC, DAI, OUSG, FRAX))
    _, icebox = advance_icebox(None, bars(bar(USDC, DAY, 0.9), bar(DAI), bar(OUSG)), rules, DAY)
    frame = build_allocation_snapshot(rules, "abc", icebox, DAY)
    require_valid(schema.allocation_snapshot, frame)
    row = frame.iloc[0]
    assert json.loads(row["allowed_tokens_json"]) == [DAI.instrument_id]
    barred = {(item["symbol"], item["reason_codes"]): item["token"] for item in json.loads(row["barred_tokens_json"])}
    assert barred == {
        ("USDC", "LOW,CLOSE"): USDC.instrument_id,
        ("FRAX", "BLACKLISTED"): FRAX.instrument_id,
        ("FRAX", "NO_PRICE"): FRAX.instrument_id,
        ("USDD", "BLACKLISTED"): None,
        ("OUSG", "ACCESS_RESTRICTED"): OUSG.instrument_id,
    }
    assert row["policy_hash"] == "abc"
    open_to_us = replace(rules, wallets=(replace(WARM, permitted_tokens=(OUSG.address,)),))
    other = build_allocation_snapshot(open_to_us, "abc", icebox, DAY).iloc[0]
    assert OUSG.instrument_id in json.loads(other["allowed_tokens_json"])
    assert other["allocation_hash"] != row["allocation_hash"]
    stale = icebox.assign(date=date(2025, 6, 1))
    assert USDC.instrument_id in json.loads(
        build_allocation_snapshot(rules, "abc", stale, DAY).iloc[0]["allowed_tokens_json"]
    )


def test_a_token_barred_by_symbol_alone_may_not_be_bought() -> None:
    rules = policy(tokens=(USDC, DAI), blacklist=(BarredToken("DAI", "Ethereum"),))
    row = build_allocation_snapshot(rules, "abc", pd.DataFrame(), DAY).iloc[0]
    assert json.loads(row["allowed_tokens_json"]) == [USDC.instrument_id]


names = st.text(min_size=1, max_size=8)
days = st.one_of(st.none(), st.dates())
policies = st.builds(
    Policy,
    parameters=st.builds(
        Parameters,
        max_pool_share=st.floats(0, 1),
        min_pools=st.integers(1, 9),
        max_group_share=st.tuples(*[st.floats(0, 1)] * 4),
        group_caps=st.booleans(),
        chains=st.tuples(names),
        gas_units=st.builds(GasUnits, approve=st.integers(1, 10**6)),
    ),
    tokens=st.tuples(
        st.builds(Token, symbol=names, chain=names, address=names, decimals=st.integers(0, 18), issuer=names)
    ),
    protocols=st.tuples(names),
    blacklist=st.tuples(st.builds(BarredToken, symbol=names, chain=names, address=st.one_of(st.none(), names))),
    protocol_aliases=st.dictionaries(names, names, max_size=3),
    pool_overrides=st.tuples(
        st.builds(
            PoolOverride,
            pool_id=names,
            underlying_addresses=st.one_of(st.none(), st.tuples(names, names)),
            maturity=days,
            since=days,
            until=days,
        )
    ),
    icebox_overrides=st.tuples(st.builds(IceboxOverride, names, names, st.booleans(), names, st.dates(), days)),
    wallets=st.tuples(st.builds(Wallet, names, st.integers(1, 9), names, st.booleans(), st.tuples(names))),
)


@settings(deadline=None, max_examples=50)
@given(policies)
def test_the_codec_is_exact(rules: Policy) -> None:
    text = policy_to_json(rules)
    assert policy_from_json(text) == rules
    assert policy_to_json(policy_from_json(text)) == text


def test_the_shipped_policy_round_trips_and_whole_numbers_have_one_spelling() -> None:
    shipped = load_policy(DAY).policy
    assert policy_from_json(policy_to_json(shipped)) == shipped
    whole = replace(shipped, parameters=replace(shipped.parameters, max_chain_share=1, max_group_share=(1, 0, 0, 0)))
    decimal = replace(
        shipped, parameters=replace(shipped.parameters, max_chain_share=1.0, max_group_share=(1.0, 0.0, 0.0, 0.0))
    )
    assert policy_hash(whole) == policy_hash(decimal)
    assert policy_hash(whole) != policy_hash(shipped)
