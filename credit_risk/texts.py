"""Making texts that people or systems sent safe to show: on one line, and without markup."""

import re
import unicodedata

# Categories of characters that end a line, are controls, or change the writing direction.
_HIDDEN = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp"))
# Characters with a meaning in Markdown, in the HTML within it, or in bare addresses.
_MARKUP = re.compile(r"[\\`*_{}\[\]()#+!|~<>&:@]|(?<=www)\.", re.IGNORECASE)


def one_line(text: str) -> str:
    r"""Return a text on one line.

    Characters that end a line, are controls or change the writing direction become spaces. Spaces
    at the ends are removed, and several in a row become one.

    Examples
    --------
    >>> one_line("fine\n2026-01-01  rollback")
    'fine 2026-01-01 rollback'
    """
    if text.isascii() and text.isprintable():
        return " ".join(text.split())

    visible = "".join(" " if unicodedata.category(c) in _HIDDEN else c for c in text)
    return " ".join(visible.split())


def escape_markdown(text: str) -> str:
    """Return a text on one line that Markdown shows as it is: no link, image, tag or emphasis.

    Special characters become character references (`&#60;`), which no dialect of Markdown
    interprets.
    """
    return _MARKUP.sub(lambda match: f"&#{ord(match[0])};", one_line(text))
