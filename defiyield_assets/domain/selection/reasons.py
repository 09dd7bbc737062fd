"""Why a pool is out, doubtful or to be left: the codes of selection and their words.

Lives here: every reason code of the pre-filter and of the final filter, in the order of reporting. Not here: the rules.
"""

from collections.abc import Mapping

PREFILTER = {
    "PROTOCOL_NOT_APPROVED": "protocol {protocol!r} is not on the approved list",
    "CHAIN_NOT_ALLOWED": "chain {chain!r} is not allowed",
    "NO_UNDERLYING": "the underlying tokens are not known",
    "TOKEN_NOT_APPROVED": "not on the approved list: {tokens}",
    "TOKEN_BLACKLISTED": "blacklisted: {tokens}",
    "MARKET_CAP_TOO_SMALL": "market capitalisation below {minimum:,.0f} USD: {tokens}",
    "RESERVES_UNBALANCED": "smaller side holds {share:.1%} of the pool, accepted is {low:.0%} to {high:.0%}",
    "ACCESS_RESTRICTED": "permissioned and the wallet is not listed: {tokens}",
    "EXIT_TOO_SLOW": "leaving takes {days} days, more than {limit}",
    "MATURES_WITHIN_HORIZON": "matures on {maturity}, within {horizon} days",
    "NO_MATURITY": "a Pendle pool whose maturity is not known",
    "NOT_A_DOLLAR_POOL": "not a dollar pool: {why}",
    "SIZE_UNKNOWN": "size is not known",
    "TOO_SMALL": "size of {size:,.0f} USD is below {minimum:,.0f} USD",
    "STALE": "the vendor's row is older than a day",
}
"""Reasons that bar in the pre-filter."""
PREFILTER_WARNINGS = {
    "NO_MARKET_CAP": "market capitalisation unknown: {tokens}",
    "NO_APY": "the vendor names no APY today",
}
"""Doubts of the pre-filter that do not bar."""
FINAL = {
    "NOT_LISTED": "held, but not among the vendor's pools today",
    "NO_FORECAST": "no forecast of the APY over {horizon} days",
    "FORECAST_TOO_LOW": "forecast APY of {apy:.2%} is below {minimum:.2%}",
    "IN_ICEBOX": "in the icebox: {tokens}",
    "TOO_YOUNG": "known for {age} days, {minimum} are needed",
    "QUALITY_FAILED": "data quality: {findings}",
    "QUALITY_UNKNOWN": "data quality was not assessed",
    "GROUP_NOT_ALLOWED": "risk group {group} may hold nothing while group caps are on",
}
"""Reasons that bar in the final filter; those of the pre-filter and its size rule come with their own codes."""
FINAL_WARNINGS = {
    "QUALITY_DOUBT": "data quality: {findings}",
    "UNRATED": "risk group not rated yet",
    "HINDSIGHT": "rests on values seen after the day's cutoff",
}
ORDER = (*FINAL, *PREFILTER, *PREFILTER_WARNINGS, *FINAL_WARNINGS)
WORDS = {**FINAL, **PREFILTER, **PREFILTER_WARNINGS, **FINAL_WARNINGS}
MUST_EXIT = ("TOKEN_BLACKLISTED", "PROTOCOL_NOT_APPROVED")
"""Reasons for which a held pool has to be left, not only frozen."""


def codes_of(found: Mapping[str, str]) -> str:
    """The codes of a verdict, comma separated in the order of reporting."""
    return ",".join(code for code in ORDER if code in found)


def words_of(found: Mapping[str, str]) -> str:
    """The words of a verdict in the same order; a code whose words are told elsewhere has none."""
    return "; ".join(found[code] for code in ORDER if found.get(code))
