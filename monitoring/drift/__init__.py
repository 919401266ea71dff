"""Whether today's applications are still like those of training."""
