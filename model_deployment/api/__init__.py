"""The API: its routes, its description, and the problems that it answers with."""
