"""defiyield_assets: stablecoin treasuries put to work, as a reproducible Dagster asset graph."""
