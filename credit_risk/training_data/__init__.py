"""Training data: reading them, snapshots of them, and outcomes that have matured."""
