"""What the console and its commands write: versions of the policy, and who did what.

Lives here: these two tables. Not here: SQL (store/policy_versions.py, store/console_audit.py), the policy of a day
(policy.py).
"""

from sqlalchemy import Integer, Text

from defiyield_assets.store.schema.columns import key, may, must, table
from defiyield_assets.store.types import UtcDateTime

policy_versions = table(
    "policy_versions",
    "Every version of the policy's files, with who wrote it and why; accounts.yaml is never among them",
    key("version", Integer, "1 for the first, then one more for each"),
    must("created_at", UtcDateTime, "When it was written"),
    must("author", Text, "Who wrote it; files: found in the folder, nobody knows by whom"),
    must("reason", Text, "Why, in one line"),
    must(
        "origin",
        Text,
        "console: by a command or the console; files: found in the folder; restore: an older one again",
        isin=["console", "files", "restore"],
    ),
    may("restored_from", Integer, "Version that was restored; null: none", ge=1),
    must("what", Text, "What was changed, in one line"),
    must("files_json", Text, "Texts of policy.yaml, tokens.yaml and protocols.yaml by name, as canonical JSON"),
    must("files_hash", Text, "SHA-256 (hex) of files_json"),
    day=None,
)
console_audit = table(
    "console_audit",
    "Every write through the console, refused ones too, and every login",
    key("audit_id", Text, "Random id"),
    must("at", UtcDateTime, "When"),
    must("author", Text, "Who, as they were logged in; empty: nobody was"),
    must("remote", Text, "Address that the request came from"),
    must("action", Text, "What was asked for, such as login or write_version"),
    must("subject", Text, "What it was about, such as a parameter's name; empty: nothing"),
    must("outcome", Text, "What became of it", isin=["done", "refused", "failed"]),
    must("detail", Text, "More in one line, without secrets"),
    day=None,
)
