"""Whether today's applications are still like those in training."""
