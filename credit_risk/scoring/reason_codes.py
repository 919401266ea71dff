"""The reasons for a decision, in words that a clerk can say to a client.

What moved a score is exact (tree SHAP). The texts state what is recorded and how that compares with
accepted clients, and both can be checked. Labels are quoted, because many of them mean something
else than they say, and classes are never read as quantities. The texts are stored with each model
version, so that it gives its reasons in the words that were approved with it.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from credit_risk.schema.attributes import (
    ATTRIBUTES,
    NAMES,
    SCORED,
    SCORED_COLUMNS,
    Attribute,
    Floats,
)
from credit_risk.schema.code_book import MEANINGS, meaning

# Reasons per decision.
MOST = 4
# Log-odds below which an attribute hardly moved the score: a factor of 1.05 in the odds.
LEAST_EFFECT = 0.05
# A value is called less (or more) common among accepted clients when its frequency there differs
# from that among all clients by more than this share.
NOTABLE = 0.1

TEXTS: dict[str, str] = {
    "version": "1",
    "checking_status": "Checking account is recorded as “{value}”",
    "duration": "Loan runs {value} months",
    "credit_history": "Credit history is recorded as “{value}”",
    "purpose": "Purpose of the loan is recorded as “{value}”",
    "credit_amount": "Loan is for {value} DM",
    "savings_status": "Savings are recorded as “{value}”",
    "employment": "Time in the present job is recorded as “{value}”",
    "installment_commitment": "Instalments in relation to income are recorded as class {value}",
    "other_parties": "Other debtors or guarantors are recorded as “{value}”",
    "residence_since": "Time at the present address is recorded as class {value}",
    "property_magnitude": "Property is recorded as “{value}”",
    "other_payment_plans": "Other instalment plans are recorded as “{value}”",
    "housing": "Housing is recorded as “{value}”",
    "existing_credits": "Existing credits are recorded as class {value}",
    "job": "Job is recorded as “{value}”",
    "num_dependents": "Dependents are recorded as class {value}",
    "own_telephone": "Telephone is recorded as “{value}”",
    "duration more": "longer than most accepted",
    "duration less": "shorter than most accepted",
    "credit_amount more": "higher than most accepted",
    "credit_amount less": "lower than most accepted",
    "seldom": "less common among accepted clients",
    "often": "more common among accepted clients",
}


class Reason(NamedTuple):
    """Why a client's risk is higher or lower than that of accepted clients.

    Attributes
    ----------
    attribute, value : str
        The attribute, and the value recorded for it.
    effect : float
        Log-odds of class bad that it adds, compared with the mean over accepted clients.
    text : str
        A sentence for the client.
    meaning : str
        What the recorded value really means, where its label says something else or it is a class.
    """

    attribute: str
    value: str
    effect: float
    text: str
    meaning: str


@dataclass(frozen=True)
class Reasons:
    """The reasons for one decision, strongest first, at most four in each direction.

    A red client gets only reasons that raise the risk.
    """

    raising: tuple[Reason, ...]
    lowering: tuple[Reason, ...]


def comparison_facts(codes: Floats, accepted: NDArray[np.bool_]) -> dict[str, Any]:
    """Return the facts that texts compare a client with, as plain values for JSON.

    Parameters
    ----------
    codes : array of shape (n, 20)
        The training clients.
    accepted : array of bool, shape (n,)
        Which of them would be accepted, by their out-of-fold risks.

    Returns
    -------
    dict
        For each quantity, the median of accepted clients. For each other attribute and each of its
        recorded values, how many times as frequent it is among accepted clients as among all.
    """
    found: dict[str, Any] = {}
    for attribute in ATTRIBUTES:
        if attribute.protected:
            continue

        column = codes[:, NAMES.index(attribute.name)]
        if _is_quantity(attribute):
            found[attribute.name] = float(np.median(column[accepted]))
            continue

        frequencies = {}
        for code in np.unique(column):
            ratio = np.mean(column[accepted] == code) / np.mean(column == code)
            frequencies[_recorded(attribute, code)] = float(ratio)
        found[attribute.name] = frequencies

    return found


class ReasonTexts:
    """The texts in which a model version gives its reasons.

    Parameters
    ----------
    facts : dict
        What `comparison_facts` returned for the training clients.
    texts : dict
        `TEXTS`, as stored with the version.
    """

    def __init__(self, facts: dict[str, Any], texts: dict[str, str]) -> None:
        self._facts = facts
        self._texts = texts
        # Most recorded values are those of many clients.
        self._cached = lru_cache(maxsize=4096)(self._write)

    def reason(self, place: int, code: float, effect: float) -> Reason:
        """Return the reason that a scored attribute gives for a client's risk.

        Parameters
        ----------
        place : int
            Which of the scored attributes.
        code : float
            The recorded value, encoded.
        effect : float
            See `Reason`.
        """
        name, value, text, meant = self._cached(place, code, effect > 0)
        return Reason(name, value, effect, text, meant)

    def _write(self, place: int, code: float, raises: bool) -> tuple[str, str, str, str]:
        attribute = _SCORED[place]
        value = _recorded(attribute, code)
        shown = f"{int(code):,}" if _is_quantity(attribute) else value

        text = self._texts[attribute.name].format(value=shown)
        if comparison := self._comparison(attribute, code, raises):
            text = f"{text}, {comparison}"

        return attribute.name, value, text, meaning(attribute.name, value)

    def _comparison(self, attribute: Attribute, code: float, raises: bool) -> str | None:
        """Return how the value compares with accepted clients.

        None where it does not differ, or the difference does not explain the effect's direction.
        """
        name = attribute.name
        if _is_quantity(attribute):
            median = self._facts[name]
            if code == median:
                return None
            return self._texts[f"{name} more" if code > median else f"{name} less"]

        frequency = self._facts[name].get(_recorded(attribute, code), 1.0)
        if raises and frequency < 1 - NOTABLE:
            return self._texts["seldom"]
        if not raises and frequency > 1 + NOTABLE:
            return self._texts["often"]

        return None


def reasons(
    codes: Floats, effects: Floats, red: NDArray[np.bool_], texts: ReasonTexts
) -> list[Reasons]:
    """Return the reasons for n decisions.

    Parameters
    ----------
    codes : array of shape (n, 20)
        Encoded applications.
    effects : array of shape (n, 17)
        Each scored attribute's log-odds, less its mean over accepted clients.
    red : array of bool, shape (n,)
        Which were refused.
    texts : ReasonTexts
        Those of the version that decides.
    """
    # As Python numbers: reading single numbers out of arrays takes several times as long.
    inputs, strengths = codes[:, SCORED_COLUMNS].tolist(), effects.tolist()

    found = []
    for row, strength, refused in zip(inputs, strengths, red, strict=True):
        raising = _strongest(row, strength, 1, texts)
        lowering = () if refused else _strongest(row, strength, -1, texts)
        found.append(Reasons(raising, lowering))

    return found


def sentences(
    codes: Floats, effects: Floats, red: NDArray[np.bool_], texts: ReasonTexts
) -> pa.Array:
    """Return the reasons for each of n decisions as one text, a million in a few seconds.

    The texts are those of `reasons`, joined by "; ": what raises the risk of the red clients, and
    what lowers that of the green ones.

    Parameters
    ----------
    codes, effects, red, texts
        See `reasons`.

    Returns
    -------
    pyarrow.Array of string, shape (n,)
    """
    strength = np.where(red[:, np.newaxis], effects, -effects)
    order = np.argsort(-strength, axis=1, kind="stable")[:, :MOST]
    sorted_strength = np.take_along_axis(strength, order, axis=1)
    kept = sorted_strength >= LEAST_EFFECT
    kept[:, 0] |= sorted_strength[:, 0] > 0

    # Each recorded value has one text a direction: all are written once, and looked up by place.
    written: list[str] = []
    places = np.empty(effects.shape, dtype=np.int64)
    for i in range(len(_SCORED)):
        values, inverse = np.unique(codes[:, SCORED_COLUMNS[i]], return_inverse=True)
        places[:, i] = len(written) + 2 * inverse + red
        for code in values:
            written += [texts.reason(i, code, sign).text for sign in (-1.0, 1.0)]

    chosen = np.take_along_axis(places, order, axis=1)
    all_texts = pa.array(written, pa.string())
    ranks = [
        all_texts.take(pa.array(chosen[:, k], mask=~kept[:, k])) for k in range(order.shape[1])
    ]

    return pc.binary_join_element_wise(*ranks, "; ", null_handling="skip")


def _strongest(
    row: list[float], effects: list[float], sign: int, texts: ReasonTexts
) -> tuple[Reason, ...]:
    """Return the strongest reasons in one direction: 1 raises the risk, -1 lowers it."""
    moving = [i for i, effect in enumerate(effects) if sign * effect > 0]
    order = sorted(moving, key=lambda i: -sign * effects[i])[:MOST]
    # Where all effects are small, the strongest is still a reason.
    kept = [i for i in order if sign * effects[i] >= LEAST_EFFECT] or order[:1]

    return tuple(texts.reason(i, row[i], effects[i]) for i in kept)


def _is_quantity(attribute: Attribute) -> bool:
    """Whether the attribute's numbers are amounts; other numbers are classes."""
    return attribute.kind == "number" and attribute.name not in MEANINGS


def _recorded(attribute: Attribute, code: float) -> str:
    return attribute.categories[int(code)] if attribute.kind == "category" else str(int(code))


_SCORED = [a for a in ATTRIBUTES if a.name in SCORED]
