"""One spelling of a web address, so that an article is the same however many links lead to it.

Lives here: the rules of that spelling and the id made of it. Not here: what an article is (articles.py). Nobody ever
opens these addresses.
"""

import hashlib
import re
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlencode, urlsplit

MAX_LENGTH = 2_000
TRACKING_PREFIXES = ("utm_", "mc_", "pk_", "hsa_", "_hs", "at_", "oly_", "vero_")
TRACKING = frozenset(
    {
        *("fbclid", "gclid", "dclid", "msclkid", "yclid", "twclid", "ttclid", "igshid", "gbraid", "wbraid", "mkt_tok"),
        *("ref", "ref_src", "ref_url", "referrer", "cmpid", "cmp", "ncid", "guccounter", "guce_referrer", "spm"),
        *("share", "shared", "smid", "feature", "amp", "outputtype", "__twitter_impression"),
    }
)
"""Parameters that say where a reader came from, not what is read."""
_UNFIT = re.compile(r"[\x00-\x20\x7f-\xa0\u2028\u2029\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\ud800-\udfff]")
_HOST = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,250}[a-z0-9])?")
_DEFAULT_PORTS = (80, 443)
_SAFE = "!$&'()*+,;=:@~-._/"


def canonical_url(address: str) -> str:
    """The address as https, host in lower case and ASCII, without user, default port, fragment, tracking parameters and
    trailing slash; parameters in order, one spelling of percent signs and dots.

    ValueError for anything that is no address of the web (`javascript:…`, no host, more than `MAX_LENGTH` characters).
    """
    text = _UNFIT.sub("", address[: MAX_LENGTH + 1])
    if len(address) > MAX_LENGTH or not text:
        raise ValueError(f"expected a web address of 1 to {MAX_LENGTH} characters, got {len(address)}")
    parts = urlsplit(text)
    if parts.scheme.lower() not in ("http", "https"):
        raise ValueError(f"expected an address of the web, got {text[:40]!r}")
    kept = [(name, value) for name, value in parse_qsl(parts.query, keep_blank_values=True) if not _is_tracking(name)]
    query = urlencode(sorted(kept))
    return f"https://{_host(parts)}{_path(parts.path)}{'?' + query if query else ''}"


def article_id(canonical: str) -> str:
    """SHA-256 (hex) of a canonical address."""
    return hashlib.sha256(canonical.encode()).hexdigest()


def _is_tracking(name: str) -> bool:
    lowered = name.lower()
    return lowered in TRACKING or lowered.startswith(TRACKING_PREFIXES)


def _host(parts: SplitResult) -> str:
    """Host and, where it is not the usual one, port."""
    name = (parts.hostname or "").rstrip(".")
    try:
        host = name if name.isascii() else name.encode("idna").decode("ascii")
    except UnicodeError:
        raise ValueError(f"no host can be called {name[:40]!r}") from None
    if not _HOST.fullmatch(host):
        raise ValueError(f"no host can be called {name[:40]!r}")
    return host if parts.port is None or parts.port in _DEFAULT_PORTS else f"{host}:{parts.port}"


def _path(path: str) -> str:
    """The path without `.` and `..`, empty parts and a trailing slash; each character spelled one way."""
    kept: list[str] = []
    for part in path.split("/"):
        if part == "..":
            del kept[-1:]
        elif part not in ("", "."):
            # A slash that was spelled %2F is no separator: it stays spelled so.
            kept.append("%2F".join(quote(unquote(piece), safe=_SAFE) for piece in re.split("%2[fF]", part)))
    return "/" + "/".join(kept) if kept else ""
