"""The decision log: decisions, overrides and outcomes."""
