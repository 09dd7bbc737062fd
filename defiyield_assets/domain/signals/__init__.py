"""Signals of models and of news: prompts, replies, rules."""
