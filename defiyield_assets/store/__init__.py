"""The warehouse: what is kept, how it is written and read back. Knows SQL; knows no vendor and no Dagster."""
