"""Metrics of risks and decisions, defined once for training, model card and monitoring."""
