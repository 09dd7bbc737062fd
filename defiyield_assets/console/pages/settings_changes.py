"""What a form of the settings asks for, as changed texts of the policy's files.

Lives here: reading the form's fields, the proof that a change was previewed. Not here: what a change makes of a file
(config/changes.py), pages (settings_pages.py), the way from a form to a version (settings.py).
"""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from defiyield_assets.config import changes
from defiyield_assets.config.parameters import shown_value, typed_value
from defiyield_assets.config.row_fields import typed_fields
from defiyield_assets.config.versions import InForce
from defiyield_assets.console.questions import QuestionError
from defiyield_assets.domain.canonical import canonical_json
from defiyield_assets.errors import ConfigurationError
from defiyield_assets.store.engine import Readable
from defiyield_assets.store.policy_versions import read_version

ACTIONS = ("set", "add", "end", "restore")
LONGEST = 4_000
"""Characters of a field: a list of addresses is the longest."""
SEEN, PROOF = "seen", "proof"
"""Fields of a form: the stamp of the files that it was made on, and that its change was previewed on them."""
OF_THE_FORM = ("csrf", "author", "reason", SEEN, PROOF)
"""Fields that say nothing of the change itself."""
FIRST = "first_day"
"""The field with the first day of the row that is to end: a list may hold its name twice."""
NO_DIFFERENCE = "nothing would change: this is so already"


class NotPreviewed(ConfigurationError):  # noqa: N818 - it tells what was not done
    """A change that nobody looked at as it would be written now."""


@dataclass(frozen=True)
class Wanted:
    """A change that somebody wants: texts by file, in words, and the version that is restored, if one is."""

    texts: Mapping[str, str]
    what: str
    restored_from: int | None = None


def wanted(form: Mapping[str, str], before: InForce, engine: Readable, said: changes.Said) -> Wanted:
    """The change that a form asks for, made on the files in force.

    QuestionError for a form that is none of ours; ConfigurationError for what cannot be, or changes nothing.
    """
    for name, value in form.items():
        if len(value) > LONGEST:
            raise QuestionError(f"{name} is longer than {LONGEST:,} characters")
    action = form.get("action", "")
    if action == "set":
        found = _set(form, before, said)
    elif action in ("add", "end"):
        found = _row(form, before, said, is_new=action == "add")
    elif action == "restore":
        number = version_number(form.get("version", ""))
        found = Wanted(read_version(engine, number).files, f"version {number} restored", number)
    else:
        raise QuestionError(f"action is none of: {', '.join(ACTIONS)}")
    if all(before.files[name] == text for name, text in found.texts.items()):
        raise ConfigurationError(NO_DIFFERENCE)
    return found


def kept_fields(form: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """The fields of the change itself, to be sent again when it is written."""
    return tuple((name, value) for name, value in form.items() if name not in OF_THE_FORM)


def preview_proof(form: Mapping[str, str], stamp: str, day: date, secret: str) -> str:
    """What the page of a preview sends along: that this change was shown on the files of the stamp, counting from the
    day. Nobody makes it without the secret."""
    shown = canonical_json([dict(kept_fields(form)), stamp, day])
    return hmac.new(secret.encode(), f"previewed {shown}".encode(), hashlib.sha256).hexdigest()


def require_previewed(form: Mapping[str, str], day: date, secret: str) -> None:
    """NotPreviewed unless the form comes from the preview of just this change on the files and the day it names."""
    expected = preview_proof(form, form.get(SEEN, ""), day, secret)
    if not hmac.compare_digest(expected.encode(), form.get(PROOF, "").encode()):
        raise NotPreviewed(
            "this change was not previewed as it would be written now: nothing was written; look at its preview below "
            "and write it from here"
        )


def version_number(text: str) -> int:
    """A version's number; QuestionError for anything else."""
    if not (text.isascii() and text.isdigit() and len(text) < 9 and int(text)):
        raise QuestionError("a version is a whole number from 1")
    return int(text)


def list_kind(text: str) -> str:
    """A kind of row; QuestionError for anything else."""
    if text not in changes.KINDS:
        raise QuestionError(f"a list is one of: {', '.join(changes.KINDS)}")
    return text


def _set(form: Mapping[str, str], before: InForce, said: changes.Said) -> Wanted:
    name = form.get("name", "")
    value = typed_value(name, form.get("value", ""))
    text = changes.set_parameter(before.files["policy.yaml"], name, value, said)
    return Wanted({"policy.yaml": text}, f"{name} set to {shown_value(value)}")


def _row(form: Mapping[str, str], before: InForce, said: changes.Said, *, is_new: bool) -> Wanted:
    kind = list_kind(form.get("kind", ""))
    place, chain = changes.KINDS[kind], form.get("chain", "").strip() or "Ethereum"
    keys = [form.get(key, "").strip() for key in place.keys]
    if not keys[0] or (is_new and not all(keys)):
        raise ConfigurationError(f"{' and '.join(place.keys)} must be given")
    text, what = before.files[place.file], changes.told_change(kind, keys[0], said.day, is_new=is_new)
    if not is_new:
        after = changes.end_listed(text, kind, keys[0], said, chain=chain, first=form.get(FIRST))
        return Wanted({place.file: after}, what)
    fields = typed_fields(kind, form)
    last = fields.get(place.end or "")
    if last is not None and last < said.day:
        raise ConfigurationError(f"{place.end}: {last} is over before the row counts, from {said.day} on")
    after = changes.add_listed(text, kind, keys, said, chain=chain, fields=fields)
    return Wanted({place.file: after}, what if last is None else f"{what}, through {last}")
