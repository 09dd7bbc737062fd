"""Who changed the policy behind a plan, when and why: the versions of its files that made what differs.

Lives here: finding these versions, and the table of them. Not here: what differs (runs_policy.py), versions themselves
(config/versions.py, store/policy_versions.py).
"""

import itertools
from collections.abc import Collection
from datetime import date

from defiyield_assets.config.changed_files import trial_folder
from defiyield_assets.config.loader import load_policy
from defiyield_assets.console.layout import Inner
from defiyield_assets.console.views import View
from defiyield_assets.domain.canonical import canonical_json
from defiyield_assets.domain.policy_codec import policy_to_json
from defiyield_assets.domain.policy_differences import Difference, policy_differences
from defiyield_assets.domain.reporting.formats import clean, number
from defiyield_assets.domain.reporting.layout import Table, text
from defiyield_assets.errors import ConfigurationError
from defiyield_assets.store.policy_versions import VersionFacts, list_versions, read_version

VERSION_COLUMNS = text("Version", "Written (UTC)", "By", "What", "Why")
MOST = 20
"""Versions that are looked at, the newest: each is loaded as the policy of the run's day."""
WIDEST = 300
BY_ITSELF = (
    "an entry of the files began or ended to count on its date, the files were changed by hand, or the market itself "
    "brought what differs"
)


def told_versions(view: View, day: date, differences: Collection[Difference]) -> tuple[str, tuple[Table, ...]]:
    """Which versions of the files made these differences, which the policy of `day` has: in words, and as a table."""
    versions = list_versions(view.connection, MOST + 1)
    made = view.remembered("changes of versions", day, lambda: _changes(view, versions, day))
    wanted = {_key(one) for one in differences}
    found = [one for one in versions if made.get(one.version, frozenset()) & wanted]
    told = [key for one in found for key in made[one.version] & wanted]
    left = len(wanted - set(told))
    if not found:
        among = f"None of the last {MOST} versions" if len(versions) > MOST else "No version"
        return f"{among} of the policy made this change: {BY_ITSELF}.", ()
    words = "The versions below changed it." if len(found) > 1 else "The version below changed it."
    if len(told) > len(set(told)):
        words += " Several made the same change: the run does not tell which of them it was made with."
    if left:
        words += f" {number(left)} of the entries {'comes' if left == 1 else 'come'} from none of them: {BY_ITSELF}."
    return words, (Table(VERSION_COLUMNS, tuple(map(_row, found)), caption="Who changed it, and why", fold="never"),)


def _row(one: VersionFacts) -> tuple[str, ...]:
    return (
        Inner(str(one.version), "settings", "versions", str(one.version)),
        f"{one.created_at:%Y-%m-%d %H:%M}",
        clean(one.author, 80) if one.origin != "files" else "unknown: found in the folder",
        clean(one.what, WIDEST),
        clean(one.reason, WIDEST),
    )


def _changes(view: View, versions: Collection[VersionFacts], day: date) -> dict[int, frozenset[str]]:
    """Version -> what it made of the policy of `day`; the oldest has nothing before it that it could have changed."""
    texts = {one.version: _policy_text(view, one.version, day) for one in versions}
    return {
        later: frozenset(map(_key, policy_differences(old, new)))
        for earlier, later in itertools.pairwise(sorted(texts))
        if (old := texts[earlier]) is not None and (new := texts[later]) is not None
    }


def _policy_text(view: View, version: int, day: date) -> str | None:
    """The policy that the version's files make on a day; None where today's program does not read them."""
    with trial_folder(None, read_version(view.connection, version).files) as folder:
        try:
            return policy_to_json(load_policy(day, folder).policy)
        except ConfigurationError:
            return None


def _key(one: Difference) -> str:
    """What a difference leads to: who set a parameter did so whatever it was before."""
    before = None if one.part == "parameters" else one.before
    return canonical_json([one.part, one.name, before, one.after])
