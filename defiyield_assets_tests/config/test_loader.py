"""Tests of config/loader.py, config/files.py and the shipped YAML files."""

import json
import re
from dataclasses import fields
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

from defiyield_assets.config.files import BOUNDS
from defiyield_assets.config.loader import load_policy
from defiyield_assets.domain.canonical import stable_address
from defiyield_assets.domain.policy import LotChoice, Opening, OpeningBalance, Parameters, PoolOverride, TokenAmount
from defiyield_assets.domain.policy_codec import policy_from_json, policy_to_json
from defiyield_assets.errors import ConfigurationError

DAY = date(2025, 6, 2)
A, B = "0x" + "a" * 40, "0x" + "b" * 40


def write(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder


def refusal(folder: Path, name: str, text: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load_policy(DAY, write(folder, name, text))
    message = str(caught.value)
    assert name in message
    return message


def token(symbol: str = "USDX", address: str = A, more: str = "") -> str:
    return f'  - {{symbol: {symbol}, chain: Ethereum, address: "{address}", decimals: 6, issuer: X{more}}}\n'


def test_the_shipped_policy_loads_with_the_defaults_of_the_types() -> None:
    loaded = load_policy(DAY)
    assert loaded.policy.parameters == Parameters()
    assert sorted(warning.split()[3] for warning in loaded.warnings) == ["FRXUSD", "USD0++", "USDD"]
    warm = [wallet for wallet in loaded.policy.wallets if wallet.investable]
    assert [(wallet.name, wallet.address) for wallet in warm] == [("warm", stable_address("wallet", "warm"))]
    assert [wallet.name for wallet in loaded.policy.wallets] == ["cold", "warm"]


def test_every_parameter_stands_in_the_shipped_file() -> None:
    text = (Path(load_policy.__code__.co_filename).parent / "policy.yaml").read_text(encoding="utf-8")
    for field in fields(Parameters):
        assert f"\n  {field.name}:" in text
    assert {field.name for field in fields(Parameters)} == {*BOUNDS, "gas_units"}


@pytest.mark.recorded
def test_the_shipped_lists_are_the_reference_facts(recorded_data: Path) -> None:
    policy = load_policy(DAY).policy
    facts = pd.read_csv(recorded_data / "reference" / "approved_tokens.csv", keep_default_na=False)
    found = [
        (
            item.symbol,
            item.chain,
            item.address,
            item.decimals,
            item.issuer,
            item.peg,
            str(item.rebasing),
            item.access,
            item.exit_days,
            item.coingecko_id or "",
            str(item.cmc_id or ""),
        )
        for item in policy.tokens
    ]
    expected = facts.assign(
        address=facts["address"].str.lower(), rebasing=facts["rebasing"].astype(str), cmc_id=facts["cmc_id"].astype(str)
    )
    assert found == list(expected.itertuples(index=False, name=None))
    slugs = pd.read_csv(recorded_data / "reference" / "approved_protocols.csv")["project"].tolist()
    assert list(policy.protocols) == slugs
    aliases = pd.read_csv(recorded_data / "reference" / "protocol_aliases.csv")
    assert policy.protocol_aliases == dict(aliases.itertuples(index=False, name=None))
    barred = pd.read_csv(recorded_data / "reference" / "blacklisted_tokens.csv", keep_default_na=False)
    assert [(item.symbol, item.address or "") for item in policy.blacklist] == [
        (symbol, address.lower()) for symbol, address in zip(barred["symbol"], barred["address"], strict=True)
    ]


def test_a_users_file_replaces_the_shipped_one_and_the_others_stay(tmp_path: Path) -> None:
    folder = write(tmp_path, "policy.yaml", "parameters:\n  max_pool_share: 1\n  gas_units: {swap: 200000}\n")
    policy = load_policy(DAY, folder).policy
    assert policy.parameters.max_pool_share == 1.0
    assert isinstance(policy.parameters.max_pool_share, float)
    assert policy.parameters.gas_units.swap == 200_000
    assert policy.parameters.gas_units.approve == 50_000
    assert policy.parameters.min_pools == 5
    assert len(policy.tokens) == 32
    assert load_policy(DAY, write(tmp_path, "policy.yaml", "")).policy.parameters == Parameters()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("parameters:\n  max_pol_share: 0.2\n", ["policy.yaml:2", "parameters.max_pol_share", "'max_pool_share'"]),
        ("parametres: {}\n", ["policy.yaml:1", "parametres", "'parameters'"]),
        ("parameters:\n  min_pools: many\n", ["policy.yaml:2", "parameters.min_pools", "integer", "'many'"]),
        ("parameters:\n  min_pools: 2.5\n", ["parameters.min_pools", "integer"]),
        ("parameters:\n  max_pool_share: '0.2'\n", ["parameters.max_pool_share", "number"]),
        ("parameters:\n  max_pool_share: 25\n", ["parameters.max_pool_share", "less than or equal to 1"]),
        ("parameters:\n  exit_share: -0.1\n", ["parameters.exit_share", "greater than or equal to 0"]),
        ("parameters:\n  max_pool_share: .nan\n", ["parameters.max_pool_share", "finite"]),
        ("parameters:\n  max_group_share: [0.5, 0.5, 0.5, 1.5]\n", ["parameters.max_group_share[3]"]),
        ("parameters:\n  max_group_share: [0.5]\n", ["parameters.max_group_share"]),
        ("parameters:\n  objective: profits\n", ["parameters.objective", "'expected', 'robust' or 'profit'"]),
        ("parameters:\n  group_caps: maybe\n", ["parameters.group_caps", "boolean"]),
        ("parameters:\n  chains: []\n", ["parameters.chains"]),
        ("parameters:\n  stuck_days: 1\n", ["parameters.stuck_days", "greater than or equal to 2"]),
        ("parameters:\n  gas_units: {swop: 1}\n", ["parameters.gas_units.swop", "'swap'"]),
        (
            "parameters:\n  pair_reserve_ratio_min: 0.9\n",
            ["parameters.pair_reserve_ratio_min", "0.9", "must not exceed"],
        ),
        ("parameters:\n  min_pools: 2\n  min_pools: 3\n", ["policy.yaml:3", "parameters.min_pools", "twice", "line 2"]),
        ("parameters: [1\n", ["cannot be read as YAML"]),
        ("parameters: 3\n", ["policy.yaml:1", "parameters"]),
        ("parameters: !!binary aGk=\n", ["bytes"]),
        ("parameters: !!python/object:os.system {}\n", ["cannot be read as YAML"]),
        ("pool_overrides:\n  - {pool_id: p, roll: lend}\n", ["policy.yaml:2", "pool_overrides[0].roll", "'role'"]),
        ("pool_overrides:\n  - {role: lend}\n", ["pool_overrides[0].pool_id", "missing"]),
        ("pool_overrides:\n  - {pool_id: p, since: soon}\n", ["pool_overrides[0].since", "date"]),
        (
            "icebox_overrides:\n  - {chain: Ethereum, address: x, barred: true, reason: r, since: 2025-01-01}\n",
            ["40 hexadecimal"],
        ),
    ],
)
def test_mistakes_in_policy_yaml_are_named(tmp_path: Path, text: str, words: list[str]) -> None:
    message = refusal(tmp_path, "policy.yaml", text)
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("approved:\n" + token() + token("USDY"), ["tokens.yaml:3", "approved[1].address", "USDX", "once"]),
        ("approved:\n" + token(address="0x12"), ["tokens.yaml:2", "approved[0].address", "40 hexadecimal"]),
        ("approved:\n" + token(more=", pegg: usd"), ["approved[0].pegg", "'peg'"]),
        ("approved:\n" + token(more=", peg: eur"), ["approved[0].peg"]),
        (
            "approved:\n" + token(more=", removed_on: 2025-01-01, added_on: 2025-01-02"),
            ["removed_on", "after added_on"],
        ),
        ("blacklist: []\n", ["approved", "missing"]),
        ("approved:\n" + token(address="0x" + "0" * 40).replace('"', ""), ["approved[0].address", "string"]),
    ],
)
def test_mistakes_in_tokens_yaml_are_named(tmp_path: Path, text: str, words: list[str]) -> None:
    message = refusal(tmp_path, "tokens.yaml", text)
    for word in words:
        assert word in message


def test_mistakes_in_protocols_and_accounts_are_named(tmp_path: Path) -> None:
    message = refusal(tmp_path, "protocols.yaml", "approved: [aave-v3]\naliases: {aave: aave-v4}\n")
    for word in ("protocols.yaml:2", "aliases.aave", "'aave-v4'", "did you mean 'aave-v3'"):
        assert word in message
    assert "approved[0].slugg" in refusal(tmp_path, "protocols.yaml", "approved: [{slugg: aave-v3}]\n")
    write(tmp_path, "protocols.yaml", "approved: [aave-v3]\n")
    wallet = '  - {{name: {0}, chain_id: {1}, address: "{2}", investable: true}}\n'
    two = "wallets:\n" + wallet.format("one", 1, A) + wallet.format("two", 1, B)
    message = refusal(tmp_path, "accounts.yaml", two)
    assert "one, two" in message
    assert "chain 1" in message
    assert "address" in refusal(
        tmp_path, "accounts.yaml", "wallets:\n" + wallet.format("one", 1, A) + wallet.format("two", 1, A)
    )
    other_chain = "wallets:\n" + wallet.format("one", 1, A) + wallet.format("two", 10, B)
    assert len(load_policy(DAY, write(tmp_path, "accounts.yaml", other_chain)).policy.wallets) == 2


def test_several_mistakes_are_named_at_once(tmp_path: Path) -> None:
    message = refusal(tmp_path, "policy.yaml", "parameters:\n  min_pools: x\n  gap_days: y\n")
    assert len(message.splitlines()) == 2


def test_doubts_are_warnings(tmp_path: Path) -> None:
    write(
        tmp_path,
        "tokens.yaml",
        "approved:\n"
        + token()
        + f'blacklist: [{{symbol: USDX, chain: Ethereum, address: "{A}"}}, {{symbol: Z, chain: Ethereum}}]\n',
    )
    write(tmp_path, "accounts.yaml", f'wallets: [{{name: w, chain_id: 1, address: "{A}"}}]\n')
    warnings = load_policy(DAY, tmp_path).warnings
    assert len(warnings) == 3
    assert "Z on Ethereum has no address" in warnings[0]
    assert "approved and blacklisted" in warnings[1]
    assert "no wallet of chain 1 is investable" in warnings[2]


def test_a_removal_is_dated_and_adding_again_works(tmp_path: Path) -> None:
    removed = token(more=f", removed_on: {DAY}")
    again = token(more=f", added_on: {DAY + timedelta(days=10)}")
    write(tmp_path, "tokens.yaml", "approved:\n" + removed + again)
    write(
        tmp_path,
        "protocols.yaml",
        f"approved:\n  - {{slug: aave-v3, removed_on: {DAY}}}\n"
        f"  - {{slug: aave-v3, added_on: {DAY + timedelta(days=10)}}}\n  - maple\n",
    )
    seen = {offset: load_policy(DAY + timedelta(days=offset), tmp_path).policy for offset in (-1, 0, 9, 10)}
    assert {offset: len(policy.tokens) for offset, policy in seen.items()} == {-1: 1, 0: 0, 9: 0, 10: 1}
    assert {offset: policy.protocols for offset, policy in seen.items()} == {
        -1: ("aave-v3", "maple"),
        0: ("maple",),
        9: ("maple",),
        10: ("aave-v3", "maple"),
    }


def test_addresses_become_lower_case(tmp_path: Path) -> None:
    write(tmp_path, "tokens.yaml", "approved:\n" + token(address="0x" + "A" * 40))
    assert load_policy(DAY, tmp_path).policy.tokens[0].address == A


def test_overrides_of_the_market_come_first_and_only_those_in_force_are_kept(tmp_path: Path) -> None:
    write(tmp_path, "policy.yaml", "pool_overrides:\n  - {pool_id: p, role: vault, until: 2025-06-02}\n")
    market = (PoolOverride("p", role="collateral"), PoolOverride("q", since=DAY + timedelta(days=1)))
    policy = load_policy(DAY, tmp_path, market).policy
    assert [item.role for item in policy.pool_overrides] == ["collateral", "vault"]
    later = load_policy(DAY + timedelta(days=1), tmp_path, market).policy
    assert [item.pool_id for item in later.pool_overrides] == ["p", "q"]


def test_icebox_overrides_are_read_while_in_force(tmp_path: Path) -> None:
    entry = f'{{chain: Ethereum, address: "{A}", barred: true, reason: audit, since: 2025-06-01, expires: 2025-06-02}}'
    write(tmp_path, "policy.yaml", f"icebox_overrides:\n  - {entry}\n")
    assert len(load_policy(DAY, tmp_path).policy.icebox_overrides) == 1
    assert load_policy(DAY + timedelta(days=1), tmp_path).policy.icebox_overrides == ()
    assert load_policy(DAY - timedelta(days=2), tmp_path).policy.icebox_overrides == ()


TX, LOT = "0x" + "5C" * 32, "0x" + "9a" * 32 + ":token:0:1"
WALLETS = f'wallets: [{{name: w, chain_id: 1, address: "{A}", investable: true}}]\n'


def test_choices_of_lots_are_read_in_lower_case_and_survive_the_snapshot(tmp_path: Path) -> None:
    write(tmp_path, "policy.yaml", "parameters:\n  lot_method: specific\n")
    choice = f'{{disposal: "{TX}", token: Native, lots: ["{LOT}", "other:gas:0:0"]}}'
    write(tmp_path, "accounts.yaml", f"{WALLETS}lot_choices:\n  - {choice}\n")
    loaded = load_policy(DAY, tmp_path)
    assert loaded.policy.lot_choices == (LotChoice(TX.lower(), "native", (LOT, "other:gas:0:0")),)
    assert not any("lot_choices" in warning for warning in loaded.warnings)
    assert policy_from_json(policy_to_json(loaded.policy)) == loaded.policy


def test_snapshots_from_before_lots_can_still_be_read() -> None:
    policy = load_policy(DAY).policy
    stored = json.loads(policy_to_json(policy))
    del stored["lot_choices"], stored["parameters"]["lot_method"]
    assert policy_from_json(json.dumps(stored)) == policy


@pytest.mark.parametrize(
    ("entry", "wanted"),
    [
        (f'{{disposal: "0x12", token: native, lots: ["{LOT}"]}}', "a transaction is 0x and 64 hexadecimal digits"),
        (f'{{disposal: "{TX}", token: USDC, lots: ["{LOT}"]}}', "an address is 0x and 40 hexadecimal digits"),
        (f'{{disposal: "{TX}", token: native, lots: []}}', "at least 1 item"),
        (f'{{disposal: "{TX}", token: native, lot: ["{LOT}"]}}', "lot is not a known key; did you mean 'lots'?"),
        (f'{{disposal: "{TX}", token: native, lots: ["{LOT}", "{LOT}"]}}', f"names {LOT} more than once"),
        (
            f'{{disposal: "{TX}", token: native, lots: [a]}}\n  - {{disposal: "{TX}", token: native, lots: [b]}}',
            "again (lot_choices[0]); keep one",
        ),
    ],
)
def test_wrong_choices_of_lots_are_named_with_their_line(entry: str, wanted: str, tmp_path: Path) -> None:
    message = refusal(tmp_path, "accounts.yaml", f"{WALLETS}lot_choices:\n  - {entry}\n")
    assert wanted in message
    assert re.match(r".*accounts\.yaml:[34]: lot_choices\[[01]\]", message)


def test_choices_that_count_for_nothing_are_a_doubt(tmp_path: Path) -> None:
    write(tmp_path, "accounts.yaml", f'{WALLETS}lot_choices: [{{disposal: "{TX}", token: native, lots: [a]}}]\n')
    told = "\n".join(load_policy(DAY, tmp_path).warnings)
    assert "lot_choices (1) count for nothing while lot_method is fifo" in told


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="does not exist"):
        load_policy(DAY, tmp_path / "nowhere")


# --- opening balances ------------------------------------------------------------------------------------------------
SHARE = "0x" + "c" * 40


def wallet_with(opening: str, chain_id: int = 1) -> str:
    return f'wallets:\n  - name: w\n    chain_id: {chain_id}\n    address: "{B}"\n    opening:\n{opening}'


def opened(balances: str, block: object = 7, time: str = "2025-06-01T12:00:11Z") -> str:
    return wallet_with(f"      block: {block}\n      time: {time}\n      balances:\n{balances}")


NATIVE = '        - {token: native, amount: "1500000000000000000"}\n'


def test_an_opening_is_read_to_the_unit_and_survives_the_snapshot(tmp_path: Path) -> None:
    write(tmp_path, "tokens.yaml", "approved:\n" + token())
    shares = f'        - token: "{SHARE}"\n          amount: "{2**256 - 1}"\n'
    shares += f'          underlying: [{{token: "{A}", amount: 5}}]\n'
    policy = load_policy(DAY, write(tmp_path, "accounts.yaml", opened(NATIVE + shares))).policy
    (wallet,) = policy.wallets
    assert wallet.opening == Opening(
        7,
        datetime(2025, 6, 1, 12, 0, 11, tzinfo=UTC),
        (
            OpeningBalance("native", 15 * 10**17),
            OpeningBalance(SHARE, 2**256 - 1, None, (TokenAmount(A, 5),)),
        ),
    )
    assert policy_from_json(policy_to_json(policy)) == policy


def test_a_wallet_belongs_to_the_treasury_from_the_day_of_its_opening_on(tmp_path: Path) -> None:
    write(tmp_path, "accounts.yaml", opened(NATIVE, time="2025-06-03T01:00:00+02:00"))
    days = (date(2025, 6, 1), date(2025, 6, 2), date(2025, 6, 3))
    assert [len(load_policy(day, tmp_path).policy.wallets) for day in days] == [0, 1, 1]


def test_a_policy_of_before_there_were_openings_is_read() -> None:
    policy = load_policy(DAY).policy
    text = json.loads(policy_to_json(policy))
    del text["parameters"]["confirmations"]
    for row in text["wallets"]:
        del row["opening"]
    assert policy_from_json(json.dumps(text)) == policy


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (opened(NATIVE + NATIVE), ["accounts.yaml:10", "balances[1].token native is there twice"]),
        (
            opened("        - {token: native, amount: 1.5e18}\n"),
            ["accounts.yaml:9", "balances[0].amount", "whole number"],
        ),
        (
            opened('        - {token: native, amount: "1e18"}\n'),
            ["accounts.yaml:9", "balances[0].amount", "whole number"],
        ),
        (opened('        - {token: native, amount: "0"}\n'), ["balances[0].amount", "greater than 0"]),
        (opened('        - {token: native, amount: "-1"}\n'), ["balances[0].amount", "whole number"]),
        (opened(f'        - {{token: native, amount: "{2**256}"}}\n'), ["balances[0].amount", "less than"]),
        (opened('        - {token: USDC, amount: "1"}\n'), ["accounts.yaml:9", "balances[0].token", "40 hexadecimal"]),
        (opened("        []\n"), ["accounts.yaml:8", "opening.balances", "at least 1"]),
        (opened(NATIVE, time="2025-06-01 12:00:11"), ["accounts.yaml:7", "opening.time", "timezone"]),
        (opened(NATIVE, time="yesterday"), ["accounts.yaml:7", "opening.time"]),
        (opened(NATIVE, block=-1), ["accounts.yaml:6", "opening.block", "greater than or equal to 0"]),
        (wallet_with(f"      time: 2025-06-01T12:00:11Z\n      balances:\n{NATIVE}"), ["opening.block", "missing"]),
        (opened(NATIVE).replace("block:", "blok:"), ["accounts.yaml:6", "opening.blok", "'block'"]),
        (
            opened(f'        - {{token: "{SHARE}", amount: "1"}}\n'),
            ["accounts.yaml:9", "balances[0].decimals", SHARE, "tokens.yaml"],
        ),
        (
            opened(f'        - {{token: "{A}", amount: "1", underlying: [{{token: "{SHARE}", amount: "1"}}]}}\n'),
            ["accounts.yaml:9", "balances[0].underlying[0].decimals", SHARE],
        ),
    ],
)
def test_mistakes_in_openings_are_named(tmp_path: Path, text: str, words: list[str]) -> None:
    write(tmp_path, "tokens.yaml", "approved:\n" + token())
    message = refusal(tmp_path, "accounts.yaml", text)
    for word in words:
        assert word in message, message
    assert ("at least 1" in message) == ("at least 1" in words), "a wrong item does not make the list empty"


def test_shares_of_a_listed_pool_must_say_what_they_stand_for(tmp_path: Path) -> None:
    contract = f'{{pool_id: p, chain_id: 1, contract: "{A}", share_token: "{SHARE}"}}'
    write(tmp_path, "policy.yaml", f"pool_contracts:\n  - {contract}\n")
    text = opened(f'        - {{token: "{SHARE}", amount: "1", decimals: 18}}\n')
    message = refusal(tmp_path, "accounts.yaml", text)
    assert "accounts.yaml:9" in message
    assert "balances[0].underlying is missing" in message


def test_decimals_of_tokens_on_another_chain_are_not_taken_from_ours(tmp_path: Path) -> None:
    write(tmp_path, "tokens.yaml", "approved:\n" + token())
    balance = f'        - {{token: "{A}", amount: "1"}}\n'
    assert len(load_policy(DAY, write(tmp_path, "accounts.yaml", opened(balance))).policy.wallets) == 1
    on_base = opened(balance).replace("chain_id: 1", "chain_id: 8453")
    assert "balances[0].decimals" in refusal(tmp_path, "accounts.yaml", on_base)
