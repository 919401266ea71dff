"""Outcomes of accepted clients, by month of decision and at equal age.

Defaults arrive before repayments: of the outcomes that are known early, far too many are bad. So a
vintage is never rated on clients with an outcome alone: all of its funded clients count, and those
who have defaulted by a certain age in months are bad. Vintages are compared with each other at the
same age, which all of their clients have reached. Risks are those of ever defaulting, so they are
compared with a matured vintage; at a younger age fewer clients have defaulted than predicted.

Nothing is known about refused clients. Recall, specificity and cost per applicant are therefore
estimates: observed for the funded, predicted by their risks for the refused.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from credit_risk.metrics.calibration import brier, calibration_error
from credit_risk.metrics.cost import mean_cost
from credit_risk.metrics.discrimination import auc
from credit_risk.months import month_name, month_of
from credit_risk.schema.attributes import Floats
from credit_risk.schema.dataset import Costs
from monitoring.performance.loan_book import DEFAULTED_CODE, OPEN, LoanBook, Rows
from monitoring.performance.performance import Mask
from monitoring.performance.poisson_binomial import upper_bound

# Ages in months at which vintages are compared, apart from the age at which they are mature.
AGES = (3, 6, 12, 24)
# A share of fewer clients shows chance, or one of them, rather than the model.
MINIMUM = 30


@dataclass(frozen=True)
class Rating:
    """How risks and outcomes of funded clients agree.

    Attributes
    ----------
    bad : float
        The share of bad clients.
    auc : float or None
        None where all are of one kind.
    brier : float
        See `credit_risk.metrics.calibration`.
    calibration_error : float
        See `credit_risk.metrics.calibration`.
    """

    bad: float
    auc: float | None
    brier: float
    calibration_error: float

    @classmethod
    def of(cls, risk: Floats, bad: Floats) -> "Rating":
        """Return how good risks are, given how likely each client is bad.

        Given the risks themselves as `bad`, it is what they predict.
        """
        return cls(
            float(bad.mean()), auc(risk, bad), brier(risk, bad), calibration_error(risk, bad)
        )


@dataclass(frozen=True)
class Estimate:
    """Figures of all applicants: observed for the funded, predicted for the refused.

    None where nobody counts.

    Attributes
    ----------
    recall : float or None
        The share of good clients that was accepted.
    specificity : float or None
        The share of bad clients that was refused.
    cost : float
        Mean, in the unit of the costs.
    """

    recall: float | None
    specificity: float | None
    cost: float

    @classmethod
    def of(cls, funded: Mask, bad: Floats, costs: Costs, weight: Floats) -> "Estimate":
        """Return the estimate, given how likely each client is bad."""
        good = 1 - bad
        recall = float(good[funded].sum() / good.sum()) if good.sum() else None
        specificity = float(bad[~funded].sum() / bad.sum()) if bad.sum() else None
        return cls(recall, specificity, mean_cost(funded, bad, costs, weight))


@dataclass(frozen=True)
class Vintage:
    """The clients of one month; there are no figures of fewer than 30 clients.

    Attributes
    ----------
    month : str
        Such as 2026-03.
    applicants, funded, open : int
        All, those whose final decision is green, and those of them without an outcome.
    age : int or None
        The months that all of them have reached, as far as outcomes are known; None without any.
    predicted : Rating or None
        What their risks predict for the funded.
    observed : mapping of int to Rating
        The funded clients' defaults by an age.
    estimated : mapping of int to Estimate
        Of all applicants, by an age.
    defaults, defaults_bound : int or None
        Of the funded clients of a matured vintage: how many had defaulted by then, and how many are
        explained by chance in 97.5 of 100 cases when the risks are right.
    acceptance : mapping of (attribute, group) to float
        The share of a protected group that was accepted.
    """

    month: str
    applicants: int
    funded: int
    open: int
    age: int | None
    predicted: Rating | None
    observed: Mapping[int, Rating]
    estimated: Mapping[int, Estimate]
    defaults: int | None
    defaults_bound: int | None
    acceptance: Mapping[tuple[str, str], float]


@dataclass(frozen=True)
class OverrideOutcomes:
    """The outcomes of people's overrides to one colour.

    Attributes
    ----------
    right, wrong : int
        Of those to green, how many repaid and how many defaulted, as far as is known; None for
        those to red, as refused clients have no outcome.
    open : int
        Those whose outcome is unknown yet, or for ever.
    predicted_wrong : float
        How many of all are wrong according to the risks that were overridden.
    """

    right: int | None
    wrong: int | None
    open: int
    predicted_wrong: float


class Vintages:
    """The vintages of a loan book; those that neither changed nor aged are not rated again."""

    def __init__(self, maturity: int, costs: Costs) -> None:
        self._maturity = maturity
        self._costs = costs
        self._known: dict[int, tuple[tuple[int, int | None], Vintage]] = {}

    def of(self, book: LoanBook, now: datetime) -> tuple[Vintage, ...]:
        """Return the vintages, the oldest first."""
        until = None if book.outcomes_as_of is None else min(book.outcomes_as_of, now)

        found = {}
        for month in sorted(book.months):
            age = None if until is None else max(month_of(until) - month - 1, 0)
            state = (book.months[month].changes, age)
            known = self._known.get(month)
            if known is None or known[0] != state:
                rows = book.months[month].rows
                known = state, vintage(month, rows, age, self._maturity, self._costs, book.groups)
            found[month] = known
        self._known = found
        return tuple(one for _, one in found.values())


def vintage(
    month: int,
    rows: Rows,
    age: int | None,
    maturity: int,
    costs: Costs,
    groups: Sequence[tuple[str, str]] = (),
) -> Vintage:
    """Return one vintage.

    Parameters
    ----------
    month : int
        Since 1970.
    rows : array of shape (n,)
        Its decisions.
    age : int or None
        See `Vintage`.
    maturity : int
        The age in months at which a vintage is mature.
    costs : Costs
        Of wrong decisions.
    groups : sequence of (attribute, group)
        The meaning of the bits of `groups`, the lowest first.
    """
    # Column by column: the rows hold much else.
    funded = rows["final"].copy()
    risk = rows["risk"][funded]
    enough = len(risk) >= MINIMUM
    reached = sorted({a for a in (*AGES, maturity) if age is not None and a <= min(age, maturity)})
    bad = {a: defaulted(rows, a)[funded].astype(np.float64) for a in reached}
    mature = enough and maturity in bad
    return Vintage(
        month_name(month),
        applicants=len(rows),
        funded=len(risk),
        open=int(np.count_nonzero(funded & (rows["outcome"] == OPEN))),
        age=age,
        predicted=Rating.of(risk, risk) if enough else None,
        observed={a: Rating.of(risk, bad[a]) for a in reached} if enough else {},
        estimated={a: estimate(rows, a, costs) for a in reached} if enough else {},
        defaults=int(bad[maturity].sum()) if mature else None,
        defaults_bound=upper_bound(risk) if mature else None,
        acceptance=_acceptance(rows, groups),
    )


def defaulted(rows: Rows, age: int) -> Mask:
    """Return who defaulted within some months after the decision, shape (n,)."""
    days = rows["day"].astype("M8[D]")
    month = days.astype("M8[M]") + age
    # The same day of a later month, or its last day where it has no such day.
    same_day = month.astype("M8[D]") + (days - days.astype("M8[M]"))
    last_day = (month + 1).astype("M8[D]") - 1
    limit = np.minimum(same_day, last_day)

    within: Mask = (rows["outcome"] == DEFAULTED_CODE) & (
        rows["outcome_day"] <= limit.astype(np.int64)
    )
    return within


def estimate(rows: Rows, age: int, costs: Costs) -> Estimate:
    """Return the estimate over all applicants at an age."""
    bad = np.where(rows["final"], defaulted(rows, age), rows["risk"])
    return Estimate.of(rows["final"], bad, costs, rows["weight"])


def overridden(book: LoanBook) -> dict[str, OverrideOutcomes]:
    """Return the outcomes of overrides to green and to red, over all of the book."""
    parts = [
        month.rows[month.rows["green"] != month.rows["final"]] for month in book.months.values()
    ]
    if not parts:
        return {}

    rows = np.concatenate(parts)
    green, red = rows[rows["final"]], rows[~rows["final"]]
    n_open = int(np.count_nonzero(green["outcome"] == OPEN))
    n_wrong = int(np.count_nonzero(green["outcome"] == DEFAULTED_CODE))
    return {
        "green": OverrideOutcomes(
            len(green) - n_open - n_wrong, n_wrong, n_open, float(green["risk"].sum())
        ),
        "red": OverrideOutcomes(None, None, len(red), float((1 - red["risk"]).sum())),
    }


def _acceptance(rows: Rows, groups: Sequence[tuple[str, str]]) -> dict[tuple[str, str], float]:
    # There are a few hundred combinations of groups: each is counted once, and then they are added
    # up.
    combinations, which = np.unique(rows["groups"], return_inverse=True)
    members = np.bincount(which, minlength=len(combinations))
    accepted = np.bincount(which[rows["final"]], minlength=len(combinations))

    found = {}
    for bit, group in enumerate(groups):
        within = combinations & np.uint64(1 << bit) != 0
        if members[within].sum() >= MINIMUM:
            found[group] = float(accepted[within].sum() / members[within].sum())
    return found
