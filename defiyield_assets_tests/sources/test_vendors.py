"""Default settings: every vendor, its published limits, and the public key of Ethplorer."""

from defiyield_assets.sources.vendors import ETHPLORER_FREE_KEY, default_vendors, without_pacing


def test_published_limits() -> None:
    vendors = default_vendors({"ethplorer": "own", "fred": "k", "etherscan": ""})
    limits = {name: (s.max_calls, s.per_seconds) for name, s in vendors.items()}
    assert limits == {
        "defillama_yields": (300, 60.0),
        "defillama_coins": (300, 60.0),
        "coinmarketcap": (30, 60.0),
        "ethgastracker": (30, 60.0),
        "ethplorer": (10, 1.0),
        "etherscan": (3, 1.0),
        "fred": (120, 60.0),
        "slack": (1, 1.0),
    }
    assert all(name == settings.name for name, settings in vendors.items())
    assert (vendors["fred"].api_key, vendors["etherscan"].api_key) == ("k", None)


def test_ethplorer_without_a_key_is_asked_with_the_public_one_at_its_pace() -> None:
    free = default_vendors({})["ethplorer"]
    assert (free.api_key, free.max_calls, free.per_seconds) == (ETHPLORER_FREE_KEY, 20, 60.0)


def test_without_pacing_changes_nothing_but_the_pace() -> None:
    vendors = default_vendors({})
    quick = without_pacing(vendors)
    assert all(settings.max_calls / settings.per_seconds >= 1_000_000 for settings in quick.values())
    assert {s.base_url for s in quick.values()} == {s.base_url for s in vendors.values()}
