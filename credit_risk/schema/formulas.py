"""Escapes cells that a spreadsheet would run as formulas, in the CSVs that people open.

A spreadsheet runs text that starts with =, +, - or @, also in their full-width forms and after
blanks. We cannot know where a cell starts: where the list separator is `;`, as in Germany, or a
tab, a text that contains one becomes several cells.
"""

import re

import pyarrow as pa
import pyarrow.compute as pc

_SIGN = r"[=+\-@＝＋－＠]"
_START = rf"^[\pZ\pC]*{_SIGN}|^[\t\r]"
# After a character that may separate cells or rows, quotes are skipped too: they would enclose the
# cell.
_WITHIN = rf'([;\t\r\n\v\f\x{{85}}\x{{2028}}\x{{2029}}][\pZ\pC"]*)({_SIGN})'
# Plain numbers start like this too (-5, +1.5) and do no harm.
_NUMBER = r"^[\pZ\pC]*[+-]?[0-9]+([.,][0-9]+)?[\pZ\s]*$"
# The same for single texts without characters that cannot be printed. pyarrow compiles a pattern
# anew each time, which takes a thousand times as long.
_PRINTABLE = re.compile(rf'(^\s*|;[\s"]*){_SIGN}')


def escape_formulas(texts: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """Return cells with an apostrophe before whatever a spreadsheet would run as a formula.

    The apostrophe turns it into plain text.
    """
    suspicious = pc.match_substring_regex(texts, f"{_START}|{_WITHIN}")
    if not pc.any(suspicious).as_py():  # as in most columns
        return texts

    starts = pc.match_substring_regex(texts, _START)
    is_number = pc.match_substring_regex(texts, _NUMBER)
    runs = pc.and_(starts, pc.invert(is_number))
    texts = pc.replace_substring_regex(texts, _WITHIN, r"\1'\2")
    return pc.if_else(runs, pc.binary_join_element_wise("'", texts, ""), texts)


def escape_formula(text: str) -> str:
    """Return one cell, escaped by `escape_formulas`."""
    return str(escape_formulas(pa.array([text]))[0].as_py())


def is_formula(text: str) -> bool:
    """Return whether a spreadsheet would run a printable text; plain numbers do no harm."""
    if not _PRINTABLE.search(text):
        return False
    try:
        float(text.replace(",", "."))
    except ValueError:
        return True
    return False
