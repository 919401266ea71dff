"""What all services share: applications, the scorer, the registry, the decision log."""
