"""From eligible pools to verified transactions."""
