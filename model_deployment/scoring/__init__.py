"""Deciding on applications with the version that serves, and logging the decisions."""
