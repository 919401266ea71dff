"""Everything that was decided, overridden, and repaid or not."""
