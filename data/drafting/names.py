"""Names of attributes, made from the names of a file's columns, and what they give away."""

import re
import unicodedata
from collections.abc import Sequence

from credit_risk.schema.dataset import RESERVED

_LONGEST = 40
_ROOM = 6  # for a number at the end

_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def _any_of(words: str) -> re.Pattern[str]:
    """Return a pattern that finds any of some words, separated by |, in a name."""
    return re.compile(rf"(?:^|_)(?:{words})(?:_|$)")


# What the lender decided itself or learnt later. Words that are also about the past, such as
# delinquencies, are left out: a credit bureau knows them before the decision.
_DECIDED = _any_of(
    "grade|subgrade|interest|apr|score|scoring|decision|decided|approved|approval|rejected|paid"
    "|repaid|recovered|recovery|recoveries|collection|collections|chargeoff|charged|default"
    "|defaulted|settlement|balance|outstanding|outcome|writeoff|payoff|hardship"
)
_DECIDED_AT_END = re.compile(
    r"(?:^|_)(?:rate|limit|write_off|charge_off|last_payment|late_fees?|dpd"
    r"|(?:loan|application|account|payment|credit|final|current|repayment)_status)$|^status$"
)
_KNOWN_RATE = re.compile(r"(?:instal?lment|tax|exchange)_rate$")

_PROTECTED = _any_of(
    "sex|gender|marital|married|nationality|national|citizen|citizenship|foreign|foreigner|race"
    "|racial|ethnic|ethnicity|religion|religious|disability|disabled|birth|birthdate|birthday|dob"
    "|pregnant|pregnancy|caste|(?:personal|family|civil)_status|sexual_orientation|skin_colou?r"
)
_AGE = _any_of("age")
_AGE_OF_OTHERS = _any_of(
    "car|vehicle|account|credit|loan|property|house|building|file|history|oldest|job"
)
_PROXY = _any_of(
    "zip|zipcode|postcode|postal|state|county|city|town|region|district|neighbou?rhood|address"
    "|language|surname"
)
_AMOUNT = re.compile(
    r"^((credit|loan|requested|funded|principal)_)?(amount|amnt|amt|principal)(_requested)?$"
)
_TERM = re.compile(r"^(loan_|credit_)?(duration|term|tenor|tenure|maturity)(_in)?(_months?)?$")
_ID = re.compile(
    r"(^|_)(id|ids|uuid|guid|key|ref|reference|number|nr|no|idx|index|identifier)$|^id_|^unnamed"
)


def names_of(headers: Sequence[str], target: str) -> list[str]:
    """Return a name for each header: lower snake case, not reserved, none twice.

    A header that is a name keeps it. Others get one that no other header could be taken for: where
    files are read, names count as the same when they only differ in case or in what separates their
    words.

    Parameters
    ----------
    headers : sequence of str
        All different.
    target : str
        The one that is the target.
    """
    kept = {header for header in headers if snake(header) == header and header not in RESERVED}
    used = {_squeezed(header) for header in (*kept, target)}
    found = []
    for place, header in enumerate(headers):
        if header in kept:
            found.append(header)
            continue
        others = {_squeezed(other) for i, other in enumerate(headers) if i != place}
        name = _free(snake(header) or f"column_{place + 1}", used | others)
        used.add(_squeezed(name))
        found.append(name)
    return found


def _free(name: str, used: set[str]) -> str:
    name = f"{name[: _LONGEST - _ROOM]}_value" if name in RESERVED else name
    tried, n = name, 1
    while tried in RESERVED or _squeezed(tried) in used:
        n += 1
        tried = f"{name[: _LONGEST - _ROOM]}_{n}"
    return tried


def snake(text: str) -> str:
    """Return a text as a name; empty where it has no letter or digit of ASCII."""
    words = unicodedata.normalize("NFKD", _HUMP.sub("_", text[:200]).casefold())
    name = re.sub(r"[^a-z0-9]+", "_", re.sub(r"[^\x00-\x7f]", "", words)).strip("_")
    if name and not name[0].isalpha():
        name = f"n_{name}"
    return name[:_LONGEST].rstrip("_")


def label_of(name: str) -> str:
    """Return what people read for a name."""
    return name.replace("_", " ").capitalize()


def _squeezed(name: str) -> str:
    return re.sub(r"[\s_.\-]+", "", name).lower()


def is_decided(name: str) -> bool:
    """Return whether a name sounds like what the lender decides, or learns after its decision."""
    if _KNOWN_RATE.search(name):
        return False
    return bool(_DECIDED.search(name) or _DECIDED_AT_END.search(name))


def is_age(name: str) -> bool:
    """Return whether a name sounds like a person's age."""
    return bool(_AGE.search(name)) and not _AGE_OF_OTHERS.search(name)


def is_protected(name: str) -> bool:
    """Return whether a name sounds like what the law protects."""
    return is_age(name) or bool(_PROTECTED.search(name))


def is_proxy(name: str) -> bool:
    """Return whether a name sounds like what may stand for a protected attribute."""
    return bool(_PROXY.search(name))


def is_amount(name: str) -> bool:
    """Return whether a name sounds like the amount lent."""
    return bool(_AMOUNT.search(name))


def is_term(name: str) -> bool:
    """Return whether a name sounds like the term of a loan."""
    return bool(_TERM.search(name))


def is_id(name: str) -> bool:
    """Return whether a name sounds like an identifier."""
    return bool(_ID.search(name))
