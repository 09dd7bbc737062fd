"""The rules, pure: data frames and dataclasses in, data frames and dataclasses out.

No Dagster, no SQL, no HTTP, no clock, no environment, no randomness without a seed. Fetching lives in sources,
keeping in store.
"""
