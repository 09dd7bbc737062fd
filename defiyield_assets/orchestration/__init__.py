"""Declares assets, checks, jobs, schedules and sensors. Reads, calls the domain, writes, reports; decides nothing."""

import warnings

import dagster as dg

# Backfill policies, partition mappings and partitioned checks are beta or preview; the pinned version makes that safe.
warnings.filterwarnings("ignore", category=dg.BetaWarning)
warnings.filterwarnings("ignore", category=dg.PreviewWarning)
# Meant so: a range of the whole job is one run a day, a range of single assets follows the policy of the asset.
warnings.filterwarnings("ignore", message="Asset job .* materializes assets with varying BackfillPolicies")
