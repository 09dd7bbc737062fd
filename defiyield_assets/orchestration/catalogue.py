"""What all assets have in common in the UI: a page of the documentation, a section of the specification, freshness.

Lives here: groups with their subjects and pages, and `documented`, which adds links and policies to whatever was
declared. Not here: what an asset is (assets/), how it is declared (declarations.py, steps.py), the pages (docs/).
"""

from dataclasses import dataclass

import dagster as dg

from defiyield_assets.orchestration.freshness import DAILY_BY_0300, HOURLY_BY_HALF_PAST, WEEKLY_BY_0600

SPEC, DOCS = "spec", "docs"


@dataclass(frozen=True)
class Group:
    """A group of the asset graph: what it is about, and the page that explains it."""

    subject: str
    page: str


GROUPS = {
    "policy": Group("What the treasury may do, as of the day, and the warehouse's schema", "architecture"),
    "ingestion": Group("What vendors tell of pools and macro series", "explanation/ingestion"),
    "prices": Group("Bars of tokens, coins and shares, by vendor and curated", "explanation/market-data"),
    "gas": Group("Gas by the hour and day, and what is expected", "explanation/forecasting"),
    "market": Group("Features, regimes, events and learning targets", "explanation/features"),
    "selection": Group("Which tokens and pools may be used, and why the others may not", "explanation/selection"),
    "analysis": Group("Quality, metrics and risk groups of pools", "explanation/selection"),
    "forecasting": Group("Forecasts of pools, their evidence and what they were worth", "explanation/forecasting"),
    "ledger": Group("What the wallets did, what is held, net asset value", "explanation/ledger"),
    "allocation": Group("The plan of the day, its steps and limits", "explanation/allocation"),
    "reporting": Group("What people are told", "explanation/report-and-slack"),
    "lab": Group("Scenarios, backtests and rankings of strategies", "explanation/strategy-lab"),
    "news": Group("News and their sentiment", "explanation/news-and-signals"),
    "signals": Group("What models and news say of an instrument", "explanation/news-and-signals"),
    "paper": Group("Paper portfolios at a simulated exchange", "explanation/paper-trading"),
    "archive": Group("Requests, answers and bookkeeping that the machinery itself writes", "explanation/ingestion"),
}
"""Group -> subject and page; there are no other groups."""

TABLES_PAGE = "reference/tables"
HOURLY = frozenset({"news"})
"""Groups that the hourly schedule makes."""
DAILY_GROUPS = frozenset({"signals"})
"""Groups beside the treasury's day that a daily schedule makes."""
WEEKLY = frozenset({"scenarios"})


def page_url(docs_url: str, page: str, anchor: str = "") -> str:
    """Address of a page of the built documentation."""
    return f"{docs_url.rstrip('/')}/{page}.html" + (f"#{anchor}" if anchor else "")


def freshness_of(spec: dg.AssetSpec) -> dg.FreshnessPolicy | None:
    """When an asset that a schedule makes is stale: by its own policy where it has one; None for all others."""
    if spec.freshness_policy is not None:
        return spec.freshness_policy
    if "daily" in spec.tags or spec.group_name in DAILY_GROUPS:
        return DAILY_BY_0300
    if spec.group_name in HOURLY:
        return HOURLY_BY_HALF_PAST
    return WEEKLY_BY_0600 if spec.key.to_user_string() in WEEKLY else None


def documented(definitions: dg.Definitions, docs_url: str) -> dg.Definitions:
    """The same definitions, whose assets lead to their pages and know when they are stale."""

    def with_links(spec: dg.AssetSpec) -> dg.AssetSpec:
        group, name = GROUPS[spec.group_name or ""], spec.key.to_user_string()
        explained = page_url(docs_url, group.page)
        links = [f"[How it works]({explained})"]
        if "dagster/table_name" in spec.metadata:
            links.append(f"[Columns]({page_url(docs_url, TABLES_PAGE, name.replace('_', '-'))})")
        links.append(f"Specification: {spec.metadata[SPEC]}")
        return spec.replace_attributes(
            description=f"{(spec.description or '').strip()}\n\n{' · '.join(links)}",
            metadata={**spec.metadata, DOCS: dg.MetadataValue.url(explained)},
            freshness_policy=freshness_of(spec),
        )

    return definitions.map_asset_specs(func=with_links)
