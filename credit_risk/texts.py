"""Texts that people or systems sent, made fit to be shown: on one line, and as text wherever markup is read."""

import re
import unicodedata

# What a line may not hold: what ends it, controls, or turns the direction of writing.
_HIDDEN = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp"))
# What makes more than text in Markdown, in the HTML within it, and of bare addresses.
_MARKUP = re.compile(r"[\\`*_{}\[\]()#+!|~<>&:@]|(?<=www)\.", re.IGNORECASE)


def one_line(text: str) -> str:
    r"""Return a text on one line: what ends lines, controls or turns the direction of writing becomes a space.

    Spaces at its ends go, and of several in a row one stays.

    Examples
    --------
    >>> one_line("fine\n2026-01-01  rollback")
    'fine 2026-01-01 rollback'
    """
    if text.isascii() and text.isprintable():
        return " ".join(text.split())
    return " ".join("".join(" " if unicodedata.category(c) in _HIDDEN else c for c in text).split())


def escape_markdown(text: str) -> str:
    """Return a text on one line that Markdown shows as it is: no link, image, tag or emphasis.

    Signs become character references (`&#60;`), which no dialect of Markdown takes for its own.
    """
    return _MARKUP.sub(lambda match: f"&#{ord(match[0])};", one_line(text))
