"""The chains of the log: each writer's records in order, each with the hash of the one before."""
