"""The Risk-O-Meter: decides on credit applications, as a page and an API."""
