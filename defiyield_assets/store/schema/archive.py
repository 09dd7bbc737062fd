"""Vendor answers, budgets and what became of each asset.

Lives here: tables of the archive and the bookkeeping of runs. Not here: SQL (store/reads.py, writes.py).
"""

from sqlalchemy import Boolean, Column, Date, Float, Index, Integer, LargeBinary, Text

from defiyield_assets.store.schema.columns import key, may, must, table
from defiyield_assets.store.types import UtcDateTime

raw_fetches = table(
    "raw_fetches",
    "One row per vendor request, successful or not; never holds a key",
    Column("fetch_id", Integer, primary_key=True, autoincrement=True, comment="Sequence of requests"),
    must("vendor", Text, "Vendor's short name"),
    must("endpoint", Text, "Path template of the endpoint"),
    must("params_hash", Text, "SHA-256 of params_json"),
    must("params_json", Text, "Parameters as canonical JSON, keys and secrets removed"),
    must("fetched_at", UtcDateTime, "The transport's stamp of the answer"),
    may("partition_date", Date, "Partition that asked"),
    may("status", Integer, "HTTP status, null when no answer came"),
    must("attempts", Integer, "Requests sent, retries included", ge=1),
    must("waited_seconds", Float, "Seconds spent waiting for pacing and retries", ge=0.0),
    must("bytes", Integer, "Length of the body", ge=0),
    may("rows", Integer, "Rows that the parser found"),
    may("error_class", Text, "Class of the error, null on success"),
    may("error_message", Text, "The error in words, secrets removed"),
    may("sha256", Text, "Body in raw_bodies"),
    may("earlier_sha256", Text, "Bodies of attempts before the last one, separated by spaces"),
    Index(None, "vendor", "endpoint", "params_hash", "fetched_at"),
    Index(None, "partition_date"),
    day=None,
)
raw_bodies = table(
    "raw_bodies",
    "Vendor answers, compressed, by content; append-only",
    key("sha256", Text, "SHA-256 of the body"),
    must("encoding", Text, "Compression of the body", isin=["zlib"]),
    must("body", LargeBinary, "Compressed body"),
    must("bytes", Integer, "Length before compression", ge=0),
    day=None,
)
vendor_usage = table(
    "vendor_usage",
    "Calls sent to a vendor under one key, by minute, day and month of the wall clock: what is left of its budgets",
    key("vendor", Text, "Vendor's short name"),
    key("key_id", Text, "Fingerprint of the key, `none` without one; never the key"),
    key("period", Text, "minute, day or month"),
    key("starts_at", UtcDateTime, "Start of the period"),
    must("calls", Integer, "Calls (or credits, where the vendor counts them) reserved in the period", ge=0),
    day=None,
)
vendor_paces = table(
    "vendor_paces",
    "When the next call to a vendor under one key may be sent, whichever process sends it",
    key("vendor", Text, "Vendor's short name"),
    key("key_id", Text, "Fingerprint of the key, `none` without one; never the key"),
    must("next_at", UtcDateTime, "First instant that no process has reserved yet"),
    day=None,
)
warehouse_identity = table(
    "warehouse_identity",
    "Which market this warehouse holds; two markets never share one",
    key("market", Text, "live, simulated or recorded"),
    day=None,
)
asset_outcomes = table(
    "asset_outcomes",
    "Why an asset of a day is degraded or failed; empty when all went well",
    key("date", Date, "Partition"),
    key("asset", Text, "Asset"),
    must("status", Text, "What happened", isin=["degraded", "failed"]),
    must("error_class", Text, "Class of the error or of the degradation"),
    must("reason", Text, "What is missing and what follows"),
    must("is_recoverable", Boolean, "False: no sensor asks again"),
)
