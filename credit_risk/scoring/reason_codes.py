"""The reasons for a decision, in words that a clerk can say to a client.

What moved a score is exact (tree SHAP); the words say what is recorded and how that compares with accepted clients,
both facts that can be checked. Labels are quoted, for many mean something else than they say, and classes are never
read as quantities. The texts are stored with each model version, so that it speaks the words it was approved with.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from credit_risk.schema.attributes import ATTRIBUTES, NAMES, SCORED, SCORED_COLUMNS, Attribute, Floats
from credit_risk.schema.code_book import MEANINGS, meaning

MOST = 4
# Log-odds below which an attribute hardly moved the score: a factor of 1.05 in the odds.
LEAST_EFFECT = 0.05
# How much rarer (or more frequent) than among all clients a value must be among accepted ones to be called so.
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
        What is recorded.
    effect : float
        Log-odds of bad that it adds, compared with the mean over accepted clients.
    text : str
        A sentence for the client.
    meaning : str
        What the recorded value really means, where its label says something else or is a class.
    """

    attribute: str
    value: str
    effect: float
    text: str
    meaning: str


@dataclass(frozen=True)
class Reasons:
    """The reasons for one decision, strongest first; at most four each. A red client gets only risk-raising ones."""

    raising: tuple[Reason, ...]
    lowering: tuple[Reason, ...]


def facts(codes: Floats, accepted: NDArray[np.bool_]) -> dict[str, Any]:
    """Return what is compared with in words, JSON-able.

    Parameters
    ----------
    codes : array of shape (n, 20)
        The training clients.
    accepted : array of bool, shape (n,)
        Which of them would be accepted, seen out of fold.

    Returns
    -------
    dict
        For each quantity the median of accepted clients; for each other attribute, by recorded value, how much more
        frequent that is among accepted clients than among all.
    """
    found: dict[str, Any] = {}
    for attribute in ATTRIBUTES:
        if attribute.protected:
            continue
        column = codes[:, NAMES.index(attribute.name)]
        if _is_quantity(attribute):
            found[attribute.name] = float(np.median(column[accepted]))
        else:
            found[attribute.name] = {
                _recorded(attribute, code): float(np.mean(column[accepted] == code) / np.mean(column == code))
                for code in np.unique(column)
            }
    return found


class Words:
    """What a model version says of an attribute's value.

    Parameters
    ----------
    known : dict
        What `facts` returned of the training clients.
    texts : dict
        `TEXTS`, of the version.
    """

    def __init__(self, known: dict[str, Any], texts: dict[str, str]) -> None:
        self._known = known
        self._texts = texts
        # What is recorded of one client mostly is recorded of many.
        self._made = lru_cache(maxsize=4096)(self._make)

    def reason(self, place: int, code: float, effect: float) -> Reason:
        """Return the reason that a scored attribute, by its place, is for a client."""
        name, value, text, meant = self._made(place, code, effect > 0)
        return Reason(name, value, effect, text, meant)

    def _make(self, place: int, code: float, raises: bool) -> tuple[str, str, str, str]:
        attribute = _SCORED[place]
        value = _recorded(attribute, code)
        text = self._texts[attribute.name].format(value=f"{int(code):,}" if _is_quantity(attribute) else value)
        if comparison := self._comparison(attribute, code, raises):
            text = f"{text}, {comparison}"
        return attribute.name, value, text, meaning(attribute.name, value)

    def _comparison(self, attribute: Attribute, code: float, raises: bool) -> str | None:
        """Return how the value compares with accepted clients, where that is so and explains the effect's direction."""
        if _is_quantity(attribute):
            median = self._known[attribute.name]
            return self._texts[f"{attribute.name} {'more' if code > median else 'less'}"] if code != median else None
        frequency = self._known[attribute.name].get(_recorded(attribute, code), 1.0)
        if raises and frequency < 1 - NOTABLE:
            return self._texts["seldom"]
        if not raises and frequency > 1 + NOTABLE:
            return self._texts["often"]
        return None


def reasons(codes: Floats, effects: Floats, red: NDArray[np.bool_], words: Words) -> list[Reasons]:
    """Return the reasons for n decisions.

    Parameters
    ----------
    codes : array of shape (n, 20)
    effects : array of shape (n, 17)
        Each scored attribute's log-odds, less its mean over accepted clients.
    red : array of bool, shape (n,)
    words : Words
        Those of the version that decides.
    """
    # Plain numbers: one at a time, those of arrays take several times as long.
    inputs, strengths = codes[:, SCORED_COLUMNS].tolist(), effects.tolist()
    return [
        Reasons(
            raising=_strongest(row, strength, 1, words),
            lowering=() if refused else _strongest(row, strength, -1, words),
        )
        for row, strength, refused in zip(inputs, strengths, red, strict=True)
    ]


def sentences(codes: Floats, effects: Floats, red: NDArray[np.bool_], words: Words) -> pa.Array:
    """Return what speaks for each of n decisions as one text, in the words of `reasons`, a million in some seconds.

    That is what raises the risk of the red clients, and what lowers that of the green ones, joined by "; ".

    Parameters
    ----------
    codes, effects, red, words
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
    # Each recorded value has one sentence a direction: they are made once, and looked up by place.
    spoken: list[str] = []
    places = np.empty(effects.shape, dtype=np.int64)
    for i in range(len(_SCORED)):
        values, inverse = np.unique(codes[:, SCORED_COLUMNS[i]], return_inverse=True)
        places[:, i] = len(spoken) + 2 * inverse + red
        for code in values:
            spoken += [words.reason(i, code, sign).text for sign in (-1.0, 1.0)]
    chosen = np.take_along_axis(places, order, axis=1)
    all_spoken = pa.array(spoken, pa.string())
    ranks = [all_spoken.take(pa.array(chosen[:, k], mask=~kept[:, k])) for k in range(order.shape[1])]
    return pc.binary_join_element_wise(*ranks, "; ", null_handling="skip")


def _strongest(row: list[float], effects: list[float], sign: int, words: Words) -> tuple[Reason, ...]:
    moving = [i for i, effect in enumerate(effects) if sign * effect > 0]
    order = sorted(moving, key=lambda i: -sign * effects[i])[:MOST]
    # A decision that many small effects made still gets its strongest one.
    kept = [i for i in order if sign * effects[i] >= LEAST_EFFECT] or order[:1]
    return tuple(words.reason(i, row[i], effects[i]) for i in kept)


def _is_quantity(attribute: Attribute) -> bool:
    """Whether its numbers count something; others are classes."""
    return attribute.kind == "number" and attribute.name not in MEANINGS


def _recorded(attribute: Attribute, code: float) -> str:
    return attribute.categories[int(code)] if attribute.kind == "category" else str(int(code))


_SCORED = [a for a in ATTRIBUTES if a.name in SCORED]
