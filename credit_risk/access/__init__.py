"""Who asks, whether they may, and what the access log says of it."""
