"""Versions of the model: what is registered, checked, approved, and kept for serving."""
