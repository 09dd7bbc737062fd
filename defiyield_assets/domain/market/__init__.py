"""Market: features, regimes, events and learning targets made from curated bars."""
