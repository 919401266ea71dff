"""The page: what the clerk sees."""
