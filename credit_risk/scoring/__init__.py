"""Scoring: the model, its table scorer, reason codes, and what would change a decision."""
