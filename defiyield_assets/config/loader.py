"""Reading the policy: YAML in, a checked and frozen `Policy` out.

Lives here: files, schema, cross checks, dated soft deletes, the words of a configuration error. Not here: the types
(domain/policy.py), environment variables (settings.py) or rules.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import UTC, date
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from defiyield_assets.config.files import (
    MODELS,
    NATIVE_TOKEN,
    AccountsFile,
    Dated,
    OpeningEntry,
    PolicyFile,
    ProtocolsFile,
    TokenAmountEntry,
    TokensFile,
    WalletEntry,
)
from defiyield_assets.config.reading import Path_, Source, dotted, listed, read_file, validate
from defiyield_assets.domain.chains import name_or_none
from defiyield_assets.domain.policy import (
    BarredToken,
    GasUnits,
    IceboxOverride,
    LotChoice,
    Opening,
    OpeningBalance,
    Parameters,
    Policy,
    PoolAlias,
    PoolContract,
    PoolOverride,
    Token,
    TokenAmount,
    Wallet,
)
from defiyield_assets.errors import ConfigurationError

POLICY_FILES = ("policy.yaml", "tokens.yaml", "protocols.yaml", "accounts.yaml")
FILES: dict[str, TypeAdapter[Any]] = {name: TypeAdapter(MODELS[name]) for name in POLICY_FILES}


@dataclass(frozen=True)
class LoadedPolicy:
    """The policy in force on a day and what the load found doubtful."""

    policy: Policy
    warnings: tuple[str, ...]


def load_policy(day: date, folder: Path | None = None, extra_overrides: Iterable[PoolOverride] = ()) -> LoadedPolicy:
    """The policy in force on `day`.

    `folder`: the user's configuration folder; a file that it holds replaces the shipped file of that name.
    `extra_overrides`: pool facts that a market brings along; where the user's own overrides speak of the same pool
    and field they win. Entries with `added_on` after the day or `removed_on` on or before it are not in force.

    Raises ConfigurationError naming file, line, key, what is wrong, what would be right and the nearest known name.
    """
    sources = {name: read_file(name, folder) for name in FILES}
    parsed = {name: validate(source, FILES[name]) for name, source in sources.items()}
    rules: PolicyFile = parsed["policy.yaml"]
    lists: TokensFile = parsed["tokens.yaml"]
    protocols: ProtocolsFile = parsed["protocols.yaml"]
    accounts: AccountsFile = parsed["accounts.yaml"]
    problems = [
        *_duplicate_tokens(lists, day, sources["tokens.yaml"]),
        *_wallet_problems(accounts, sources["accounts.yaml"]),
        *_opening_problems(accounts, lists, rules, sources["accounts.yaml"]),
        *_lot_problems(accounts, sources["accounts.yaml"]),
        *_alias_problems(protocols, sources["protocols.yaml"]),
        *_range_problems(rules, sources["policy.yaml"]),
    ]
    if problems:
        raise ConfigurationError(listed(problems))
    tokens = tuple(Token(**_fields(row)) for row in lists.approved if row.is_in_force(day))
    blacklist = tuple(BarredToken(**_fields(row)) for row in lists.blacklist if row.is_in_force(day))
    slugs = dict.fromkeys(row.slug for row in protocols.approved if row.is_in_force(day))
    own = tuple(PoolOverride(**row.model_dump()) for row in rules.pool_overrides)
    policy = Policy(
        parameters=_parameters(rules),
        tokens=tokens,
        protocols=tuple(slugs),
        blacklist=blacklist,
        protocol_aliases=dict(protocols.aliases),
        pool_overrides=tuple(item for item in (*extra_overrides, *own) if _is_in_force(item, day)),
        icebox_overrides=tuple(
            IceboxOverride(**row.model_dump())
            for row in rules.icebox_overrides
            if row.since <= day and (row.expires is None or day <= row.expires)
        ),
        wallets=tuple(_wallet(row) for row in accounts.wallets if row.opening is None or _opens_on(row.opening) <= day),
        pool_aliases=tuple(PoolAlias(**row.model_dump()) for row in rules.pool_aliases if row.since <= day),
        pool_contracts=tuple(PoolContract(**row.model_dump()) for row in rules.pool_contracts),
        lot_choices=tuple(LotChoice(**row.model_dump()) for row in accounts.lot_choices),
    )
    return LoadedPolicy(policy, tuple(_warnings(policy)))


def _opens_on(opening: OpeningEntry) -> date:
    return opening.time.astimezone(UTC).date()


def _wallet(row: WalletEntry) -> Wallet:
    return Wallet(**{**row.model_dump(exclude={"opening"}), "opening": _opening(row.opening)})


def _opening(entry: OpeningEntry | None) -> Opening | None:
    if entry is None:
        return None
    balances = tuple(
        OpeningBalance(
            item.token,
            item.amount,
            item.decimals,
            tuple(TokenAmount(**of_pool.model_dump()) for of_pool in item.underlying),
        )
        for item in entry.balances
    )
    return Opening(entry.block, entry.time.astimezone(UTC), balances)


def _parameters(rules: PolicyFile) -> Parameters:
    entry: Any = rules.parameters  # a model made from the fields of Parameters
    numbers = entry.model_dump()
    return Parameters(**{**numbers, "gas_units": GasUnits(**numbers["gas_units"])})


def _fields(row: Dated) -> dict[str, Any]:
    return row.model_dump(exclude={"added_on", "removed_on"})


def _is_in_force(override: PoolOverride, day: date) -> bool:
    return (override.since is None or override.since <= day) and (override.until is None or day <= override.until)


def _duplicate_tokens(lists: TokensFile, day: date, source: Source) -> list[str]:
    """An address may be in force once; several dated entries of it may follow each other."""
    found = []
    first: dict[tuple[str, str], int] = {}
    for index, token in enumerate(lists.approved):
        if token.is_in_force(day):
            key = (token.chain, token.address)
            if key in first:
                before = lists.approved[first[key]]
                found.append(
                    f"{source.at(('approved', index))}: approved[{index}].address {token.address} of {token.symbol} "
                    f"is already that of {before.symbol} (approved[{first[key]}]); an address may be in force once"
                )
            first.setdefault(key, index)
    return found


def _wallet_problems(accounts: AccountsFile, source: Source) -> list[str]:
    chains = Counter(wallet.chain_id for wallet in accounts.wallets if wallet.investable)
    found = []
    for chain_id, count in chains.items():
        if count > 1:
            names = ", ".join(item.name for item in accounts.wallets if item.investable and item.chain_id == chain_id)
            found.append(
                f"{source.at(('wallets',))}: wallets: {count} wallets of chain {chain_id} are investable ({names}); "
                f"plans spend from one wallet per chain, set investable: false on the others"
            )
    for field in ("name", "address"):
        keys = Counter((wallet.chain_id, getattr(wallet, field)) for wallet in accounts.wallets)
        found += [
            f"{source.at(('wallets',))}: wallets: {field} {key[1]} is there {count} times on chain {key[0]}; keep one"
            for key, count in keys.items()
            if count > 1
        ]
    return found


def _opening_problems(accounts: AccountsFile, lists: TokensFile, rules: PolicyFile, source: Source) -> list[str]:
    """An opening names each token once, says what shares stood for, and decimals that nothing else tells."""
    listed = {(row.chain, row.address) for row in lists.approved}
    shares = {(row.chain_id, row.share_token) for row in rules.pool_contracts}
    found = []
    for index, wallet in enumerate(accounts.wallets):
        if wallet.opening is None:
            continue
        chain, at = name_or_none(wallet.chain_id), ("wallets", index, "opening", "balances")
        known = {address for name, address in listed if name == chain} | {NATIVE_TOKEN}
        of_pools = {balance.token for balance in wallet.opening.balances if balance.underlying}
        found += _amount_problems(wallet.opening.balances, known | of_pools, at, source)
        for place, balance in enumerate(wallet.opening.balances):
            inner = (*at, place, "underlying")
            found += _amount_problems(balance.underlying, known, inner, source)
            if not balance.underlying and (wallet.chain_id, balance.token) in shares:
                found.append(
                    f"{source.at(inner)}: {dotted(inner)} is missing and has to be given: {balance.token} is the "
                    f"share token of a listed pool; say what these shares stood for at that block"
                )
    return found


def _amount_problems(
    amounts: Sequence[TokenAmountEntry], known: AbstractSet[str], at: Path_, source: Source
) -> list[str]:
    found = []
    for place, item in enumerate(amounts):
        where = f"{source.at((*at, place))}: {dotted((*at, place))}"
        if item.token in {other.token for other in amounts[:place]}:
            found.append(f"{where}.token {item.token} is there twice; keep one")
        if item.token not in known and item.decimals is None:
            found.append(
                f"{where}.decimals is missing and has to be given: {item.token} is not an approved token of the "
                f"wallet's chain in tokens.yaml; or correct the address"
            )
    return found


def _lot_problems(accounts: AccountsFile, source: Source) -> list[str]:
    """One choice per transaction and token, and no lot twice in it."""
    found = []
    first: dict[tuple[str, str], int] = {}
    for index, choice in enumerate(accounts.lot_choices):
        before = first.setdefault((choice.disposal, choice.token), index)
        where = f"{source.at(('lot_choices', index))}: lot_choices[{index}]"
        if before != index:
            found.append(
                f"{where} chooses lots of {choice.token} in {choice.disposal} again (lot_choices[{before}]); keep one"
            )
        twice = sorted(lot for lot, count in Counter(choice.lots).items() if count > 1)
        found += [f"{where}.lots names {lot} more than once; keep one" for lot in twice]
    return found


def _alias_problems(protocols: ProtocolsFile, source: Source) -> list[str]:
    """An alias must lead to a slug of the list, in force or removed."""
    known = sorted({row.slug for row in protocols.approved})
    found = []
    for old, new in protocols.aliases.items():
        if new not in known:
            near = get_close_matches(new, known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else "add it to approved or drop the alias"
            found.append(f"{source.at(('aliases', old))}: aliases.{old} leads to {new!r}, which is not listed; {hint}")
    return found


def _range_problems(rules: PolicyFile, source: Source) -> list[str]:
    limits: Any = rules.parameters
    if limits.pair_reserve_ratio_min <= limits.pair_reserve_ratio_max:
        return []
    where = source.at(("parameters", "pair_reserve_ratio_min"))
    return [
        f"{where}: parameters.pair_reserve_ratio_min is {limits.pair_reserve_ratio_min}, above "
        f"pair_reserve_ratio_max {limits.pair_reserve_ratio_max}; the minimum must not exceed the maximum"
    ]


def _warnings(policy: Policy) -> list[str]:
    """What may be meant but deserves a look."""
    found = [
        f"tokens.yaml: blacklist row {row.symbol} on {row.chain} has no address and bars by exact symbol; "
        f"add the address"
        for row in policy.blacklist
        if row.address is None
    ]
    barred = {(row.chain, row.address) for row in policy.blacklist if row.address}
    found += [
        f"tokens.yaml: {token.symbol} on {token.chain} is approved and blacklisted; the blacklist wins"
        for token in policy.tokens
        if (token.chain, token.address) in barred
    ]
    if policy.lot_choices and policy.parameters.lot_method != "specific":
        found.append(
            f"accounts.yaml: lot_choices ({len(policy.lot_choices)}) count for nothing while lot_method is "
            f"{policy.parameters.lot_method}; set parameters.lot_method: specific in policy.yaml"
        )
    chains = {wallet.chain_id for wallet in policy.wallets}
    spending = {wallet.chain_id for wallet in policy.wallets if wallet.investable}
    found += [
        f"accounts.yaml: no wallet of chain {chain_id} is investable; no plan can spend there"
        for chain_id in sorted(chains - spending)
    ]
    return found
