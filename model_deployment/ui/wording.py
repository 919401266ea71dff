"""How attributes and their values read on the page, wherever it shows them."""

from credit_risk.schema.attributes import Attribute, Labels


def in_words(attribute: Attribute, value: str, labels: Labels) -> str:
    """Return a recorded value as people read it, with what stands behind it in brackets."""
    first, behind = attribute.shown(value, labels)
    return f"{first} ({behind})" if behind else first


def optional(attribute: Attribute) -> str:
    """Return the hint that an attribute may be left out; empty where it may not."""
    if attribute.protected:
        return "optional, never scored"
    return "optional" if attribute.missing else ""
