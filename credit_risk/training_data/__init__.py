"""What models are trained on: the data, snapshots of it, and outcomes that have matured."""
