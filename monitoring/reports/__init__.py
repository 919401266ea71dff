"""The Evidently reports, where they are stored, and the training that they may start."""
