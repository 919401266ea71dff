"""What is measured of risks and decisions, one definition for training, model card and monitoring."""
