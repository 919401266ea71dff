"""Deciding on what came in, with the version that serves, and logging it."""
