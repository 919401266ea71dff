"""How good decisions were, given outcomes, and how good the challenger's would have been."""
