"""The reasons for a decision, in words that a clerk can say to a client.

What moved a score is exact (tree SHAP). The texts state what is recorded and how that compares with
accepted clients, and both can be checked. What is recorded is quoted, by what it means or by the
word of the file, and classes are never read as quantities. The texts are stored with each model
version, so that it gives its reasons in the words that were approved with it.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from credit_risk.schema.attributes import Attribute, Floats, Labels
from credit_risk.schema.dataset import Dataset

# Reasons per decision.
MOST = 4
# Log-odds below which an attribute hardly moved the score: a factor of 1.05 in the odds.
LEAST_EFFECT = 0.05
# A value is called less (or more) common among accepted clients when its frequency there differs
# from that among all clients by more than this share.
NOTABLE = 0.1

# The texts of attributes for which a definition has none.
_QUANTITY = "{label} is {{value}} {unit}"
_RECORDED = "{label} is recorded as “{{value}}”"
_MISSING = "{label} is not given"


def reason_texts(dataset: Dataset) -> dict[str, str]:
    """Return the texts in which a version that is trained now gives its reasons.

    Returns
    -------
    dict
        A text by the name of each scored attribute, with a place for its value; by `NAME more`,
        `NAME less` and `NAME missing` where they apply; and `seldom` and `often`.
    """
    texts = {"version": "1"}
    for attribute in dataset.scored_attributes:
        texts[attribute.name] = attribute.text or _default_text(attribute)
    for attribute in dataset.scored_attributes:
        if attribute.is_quantity:
            texts[f"{attribute.name} more"] = attribute.text_more or "higher than most accepted"
            texts[f"{attribute.name} less"] = attribute.text_less or "lower than most accepted"
        if attribute.missing:
            texts[f"{attribute.name} missing"] = _MISSING.format(label=_escaped(attribute.label))
    return texts | {
        "seldom": "less common among accepted clients",
        "often": "more common among accepted clients",
    }


def _default_text(attribute: Attribute) -> str:
    label, unit = _escaped(attribute.label), _escaped(attribute.unit)
    if attribute.is_quantity:
        return _QUANTITY.format(label=label, unit=unit).strip()
    return _RECORDED.format(label=label)


def _escaped(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


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


def comparison_facts(
    codes: Floats, accepted: NDArray[np.bool_], dataset: Dataset
) -> dict[str, Any]:
    """Return the facts that texts compare a client with, as plain values for JSON.

    Parameters
    ----------
    codes : array of shape (n, n_attributes)
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
    for attribute, place in zip(dataset.scored_attributes, dataset.scored_columns, strict=True):
        column = codes[:, place]
        if attribute.is_quantity:
            known = column[accepted & ~np.isnan(column)]
            found[attribute.name] = float(np.median(known)) if len(known) else 0.0
            continue

        frequencies = {}
        for code in np.unique(column[~np.isnan(column)]):
            ratio = np.mean(column[accepted] == code) / np.mean(column == code)
            frequencies[attribute.recorded(code)] = float(ratio)
        found[attribute.name] = frequencies

    return found


class ReasonTexts:
    """The texts in which a model version gives its reasons.

    Parameters
    ----------
    dataset : Dataset
        The version's.
    facts : dict
        What `comparison_facts` returned for the training clients.
    texts : dict
        What `reason_texts` returned, as stored with the version.
    labels : str
        What stands in a text for a value: what it means, or the word of the file.
    """

    def __init__(
        self, dataset: Dataset, facts: dict[str, Any], texts: dict[str, str], labels: Labels
    ) -> None:
        self._labels = labels
        self.scored_columns = dataset.scored_columns
        self._scored = dataset.scored_attributes
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
        # As NaN is not equal to itself, it would never be found again.
        name, value, text, meant = self._cached(place, None if code != code else code, effect > 0)
        return Reason(name, value, effect, text, meant)

    def _write(self, place: int, code: float | None, raises: bool) -> tuple[str, str, str, str]:
        attribute = self._scored[place]
        if code is None:
            return attribute.name, "", self._texts[f"{attribute.name} missing"].format(), ""

        value = attribute.recorded(code)
        shown, behind = attribute.shown(value, self._labels)
        if attribute.is_quantity:
            shown = f"{attribute.value(code):,}"
        elif not attribute.categories and behind and self._labels == "meaning":
            shown = f"{shown} ({behind})"
        text = self._texts[attribute.name].format(value=shown)
        if comparison := self._comparison(attribute, code, raises):
            text = f"{text}, {comparison}"

        return attribute.name, value, text, attribute.meaning(value)

    def _comparison(self, attribute: Attribute, code: float, raises: bool) -> str | None:
        """Return how the value compares with accepted clients.

        None where it does not differ, or the difference does not explain the effect's direction.
        """
        name = attribute.name
        if attribute.is_quantity:
            median = self._facts[name]
            if code == median:
                return None
            return self._texts[f"{name} more" if code > median else f"{name} less"]

        frequency = self._facts[name].get(attribute.recorded(code), 1.0)
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
    codes : array of shape (n, n_attributes)
        Encoded applications.
    effects : array of shape (n, n_scored)
        Each scored attribute's log-odds, less its mean over accepted clients.
    red : array of bool, shape (n,)
        Which were refused.
    texts : ReasonTexts
        Those of the version that decides.
    """
    # As Python numbers: reading single numbers out of arrays takes several times as long.
    inputs, strengths = codes[:, texts.scored_columns].tolist(), effects.tolist()

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
    for i, column in enumerate(texts.scored_columns):
        values, inverse = np.unique(codes[:, column], return_inverse=True)
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
