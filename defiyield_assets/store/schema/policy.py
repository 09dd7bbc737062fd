"""The policy as a day saw it, aliases and contracts of pools.

Lives here: tables of policy snapshots and curated lists. Not here: SQL (store/reads.py, writes.py).
"""

from sqlalchemy import Boolean, Date, Integer, Text

from defiyield_assets.store.schema.columns import key, must, table

policy_snapshot = table(
    "policy_snapshot",
    "The policy as it stood at the start of the day; later steps read this, never the files",
    key("date", Date, "Partition"),
    must("policy_hash", Text, "SHA-256 of policy_json"),
    must("policy_json", Text, "The whole policy as canonical JSON"),
    must("n_tokens", Integer, "Approved tokens"),
    must("n_protocols", Integer, "Approved protocols"),
    must("n_overrides", Integer, "Pool overrides in force"),
)
allocation_snapshot = table(
    "allocation_snapshot",
    "The effective lists of the day once the icebox has spoken",
    key("date", Date, "Partition"),
    must("allocation_hash", Text, "SHA-256 of the lists and the policy hash"),
    must("policy_hash", Text, "Policy that it rests on"),
    must("allowed_tokens_json", Text, "Addresses (chain:address) that may be bought"),
    must("barred_tokens_json", Text, "Addresses (chain:address) in the icebox or blacklisted, with the reason"),
    must("parameters_json", Text, "Parameters as canonical JSON"),
)
pool_aliases = table(
    "pool_aliases",
    "Old pool ids and what they are called now",
    key("old_id", Text, "Pool id that is gone"),
    must("new_id", Text, "Pool id that goes on"),
    must("since", Date, "First day of the new id"),
    must("source", Text, "Who says so"),
    day=None,
)
pool_contracts = table(
    "pool_contracts",
    "Which on-chain contract a pool is, so that the ledger knows a deposit when it sees one",
    key("pool_id", Text, "Pool"),
    key("share_token", Text, "Token that the pool mints for deposits (lower case)"),
    must("chain_id", Integer, "EVM chain id"),
    must("contract", Text, "Address that takes deposits (lower case)"),
    must("share_decimals", Integer, "Decimals of the share token", ge=0, le=36),
    must("is_rebasing", Boolean, "The share's balance grows by itself; one base unit of it is one of the underlying"),
    must("source", Text, "Who says so"),
    day=None,
)
