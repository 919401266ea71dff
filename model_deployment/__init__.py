"""The Risk-O-Meter: a page and an API that decide on credit applications with the Production model."""
