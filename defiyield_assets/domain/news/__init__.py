"""News: what an article is, what its words and votes say, what was known of it when."""
