"""What every service of the stack shares: applications, the scorer, the registry, the decision log."""
