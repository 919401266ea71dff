"""Versions of the model: registering, checking, approving, and caching them for serving."""
