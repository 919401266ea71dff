"""How good decisions were, once outcomes are known, and how good the challenger's would have been."""
