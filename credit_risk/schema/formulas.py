"""Cells that a spreadsheet would run as formulas, in the CSVs that people open.

A spreadsheet runs what starts with =, +, - or @, also in their wide forms and behind blanks. What starts a cell is not
for us to say: where the list separator is `;`, as in Germany, or a tab, a text with one in it becomes several cells.
"""

import pyarrow as pa
import pyarrow.compute as pc

_SIGN = r"[=+\-@＝＋－＠]"
_START = rf"^[\pZ\pC]*{_SIGN}|^[\t\r]"
# Behind what may separate cells or rows, a quote is skipped as well: it would be the cell's own.
_WITHIN = rf'([;\t\r\n\v\f\x{{85}}\x{{2028}}\x{{2029}}][\pZ\pC"]*)({_SIGN})'
# Plain numbers start so too (-5, +1.5) and do no harm.
_NUMBER = r"^[\pZ\pC]*[+-]?[0-9]+([.,][0-9]+)?[\pZ\pC]*$"


def harmless(texts: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """Return cells with an apostrophe before whatever a spreadsheet would run, which makes a text of it."""
    if not pc.any(pc.match_substring_regex(texts, f"{_START}|{_WITHIN}")).as_py():  # as in most columns
        return texts
    starts, number = (pc.match_substring_regex(texts, pattern) for pattern in (_START, _NUMBER))
    runs = pc.and_(starts, pc.invert(number))
    texts = pc.replace_substring_regex(texts, _WITHIN, r"\1'\2")
    return pc.if_else(runs, pc.binary_join_element_wise("'", texts, ""), texts)


def harmless_text(text: str) -> str:
    """Return one cell; see `harmless`."""
    return str(harmless(pa.array([text]))[0].as_py())
