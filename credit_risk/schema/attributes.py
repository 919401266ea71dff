"""The 20 attributes of a credit application: their names and the values they may have.

The JSON Schema, both validators (JSON rows and CSV columns) and the model's encoding all come from
the one table `ATTRIBUTES`. Every value goes through `Attribute.look`, wherever it comes from, so a
row gets the same verdict everywhere.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from credit_risk.schema.faults import InvalidValue, shown
from credit_risk.schema.spelling import numerals, uci
from credit_risk.schema.spelling.words import plain, unquoted

# The two classes of clients, and the two decisions: refused and accepted.
GOOD = "good"
BAD = "bad"
RED = "red"
GREEN = "green"
LABEL = "class"
CLIENT_ID = "client_id"
MAX_CLIENT_ID = 64

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Attribute:
    """One attribute of an application.

    `categories` are in the schema's order, which is the natural order where there is one; a
    category's code is its place in it. `minimum` and `maximum` are hard bounds, both inclusive.
    """

    name: str
    label: str
    kind: Literal["number", "category"]
    categories: tuple[str, ...] = ()
    minimum: int = 0
    maximum: int = 0
    unit: str = ""
    ordered: bool = True
    protected: bool = False

    @cached_property
    def allowed(self) -> list[str] | dict[str, Any]:
        """The values that are allowed, in the form that answers have."""
        if self.kind == "category":
            return list(self.categories)
        return {"minimum": self.minimum, "maximum": self.maximum, "integer": True}

    @cached_property
    def _codes(self) -> dict[str, float]:
        return {category: float(code) for code, category in enumerate(self.categories)}

    @cached_property
    def _uci(self) -> dict[str, str]:
        return uci.coded(self.name, NAMES.index(self.name) + 1, self.categories)

    def look(self, value: object) -> tuple[float, str]:
        """Return the code of a value and an empty reason, or NaN and the reason it is invalid.

        The code is a category's place in the schema, or the number itself; it is NaN for an absent
        value of an attribute that may be absent. The reason is `missing`, `unknown_category`,
        `ambiguous`, `not_a_number` or `out_of_range`. `invalid` turns it into a message, which
        takes ten times as long: a body may hold millions of faults, of which only a thousand are
        reported.
        """
        if isinstance(value, str):
            value = plain(value)
        if value is None or value == "" or value != value:
            return math.nan, "" if self.protected else "missing"
        if self.kind == "category":
            code = self._codes.get(value) if isinstance(value, str) else None
            return (math.nan, "unknown_category") if code is None else (code, "")

        whole = _whole(value)
        if whole is None:
            ambiguous = isinstance(value, str) and numerals.is_ambiguous(value)
            return math.nan, "ambiguous" if ambiguous else "not_a_number"
        if not self.minimum <= whole <= self.maximum:
            return math.nan, "out_of_range"
        return float(whole), ""

    def invalid(self, value: object, reason: str) -> InvalidValue:
        """Return the error for a value that `look` found invalid for a reason."""
        text = unquoted(value) if isinstance(value, str) else ""
        value = text or value

        if reason == "missing":
            wrong = f"has no value ({shown(value)})" if text else "has no value"
        elif reason == "unknown_category":
            wrong = f"{shown(value)} is not one of {', '.join(self.categories)}"
            if text in self._uci:
                wrong = (
                    f"{shown(value)} is a code of UCI's german.data; "
                    f"here that is {self._uci[text]!r} ({uci.SEE})"
                )
        elif reason == "ambiguous":
            wrong = f"{shown(value)} {numerals.readings(text)}"
        elif reason == "not_a_number":
            wrong = f"{shown(value)} is not a whole number{numerals.remedy(text)}"
        else:
            wrong = f"{shown(value)} is outside {self.minimum} to {self.maximum}"

        return InvalidValue(reason, f"{self.name} {wrong}", self.allowed)

    def parse(self, value: object) -> float:
        """Return the code of a value, as `look` does.

        Raises
        ------
        InvalidValue
            When the value is not allowed.
        """
        code, reason = self.look(value)
        if reason:
            raise self.invalid(value, reason)
        return code


def _whole(value: object) -> int | None:
    """Return the whole number that a value is, or stands for as a text; None if there is none."""
    if isinstance(value, str):
        return numerals.whole(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    return int(value) if isinstance(value, float) and value.is_integer() else None


def _category(
    name: str, label: str, categories: str, *, ordered: bool = True, protected: bool = False
) -> Attribute:
    return Attribute(
        name, label, "category", tuple(categories.split("|")), ordered=ordered, protected=protected
    )


def _number(
    name: str, label: str, minimum: int, maximum: int, unit: str = "", *, protected: bool = False
) -> Attribute:
    return Attribute(
        name, label, "number", minimum=minimum, maximum=maximum, unit=unit, protected=protected
    )


# The columns of the data file, in its order. Ordered categories go from low to high. The hard
# bounds are our own judgement of what an application can be; the ranges in the data are narrower
# and are stored with each model (`Domain`).
ATTRIBUTES: tuple[Attribute, ...] = (
    # 'no checking' (an account with 200 DM or more, according to Grömping 2019) comes last: the
    # order is by balance.
    _category("checking_status", "Checking account", "<0|0<=X<200|>=200|no checking"),
    _number("duration", "Duration", 1, 120, "months"),
    _category(
        "credit_history",
        "Credit history",
        "no credits/all paid|all paid|existing paid|delayed previously"
        "|critical/other existing credit",
    ),
    _category(
        "purpose",
        "Purpose",
        "new car|used car|furniture/equipment|radio/tv|domestic appliance|repairs|education"
        "|vacation|retraining|business|other",
        ordered=False,
    ),
    _number("credit_amount", "Credit amount", 1, 10_000_000, "DM"),
    _category("savings_status", "Savings", "<100|100<=X<500|500<=X<1000|>=1000|no known savings"),
    _category("employment", "Employed since", "unemployed|<1|1<=X<4|4<=X<7|>=7"),
    _number("installment_commitment", "Instalment rate class", 1, 4),
    _category(
        "personal_status",
        "Personal status",
        "male div/sep|female div/dep/mar|male single|male mar/wid|female single",
        ordered=False,
        protected=True,
    ),
    _category("other_parties", "Other parties", "none|co applicant|guarantor", ordered=False),
    _number("residence_since", "Residence class", 1, 4),
    _category("property_magnitude", "Property", "real estate|life insurance|car|no known property"),
    _number("age", "Age", 18, 100, "years", protected=True),
    _category("other_payment_plans", "Other payment plans", "bank|stores|none", ordered=False),
    _category("housing", "Housing", "rent|own|for free", ordered=False),
    _number("existing_credits", "Existing credits class", 1, 4),
    _category(
        "job", "Job", "unemp/unskilled non res|unskilled resident|skilled|high qualif/self emp/mgmt"
    ),
    _number("num_dependents", "Dependents class", 1, 2),
    _category("own_telephone", "Telephone", "none|yes"),
    _category("foreign_worker", "Foreign worker", "yes|no", ordered=False, protected=True),
)
NAMES = tuple(a.name for a in ATTRIBUTES)
ATTRIBUTE = {a.name: a for a in ATTRIBUTES}
SCORED = tuple(a.name for a in ATTRIBUTES if not a.protected)
PROTECTED = tuple(a.name for a in ATTRIBUTES if a.protected)
SCORED_COLUMNS = np.array([NAMES.index(name) for name in SCORED])
# The columns or keys that a file or an object may have.
COLUMNS = (*NAMES, CLIENT_ID, LABEL)
