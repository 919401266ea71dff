"""From an application to a decision: the scorer, its tables, reason codes, and what would change a decision."""
