"""Files of applications and of results, in each format."""
