"""What became of the clients who were accepted, by the month of the decision, at equal age.

Defaults arrive before repayments: of the outcomes that are known early, far too many are bad. So a vintage is never
rated on those with an outcome alone, but all of its funded clients count, and bad is who has defaulted by a certain age
in months. Vintages are compared with each other at the same age, which all of their clients have reached. Risks are
those of ever defaulting: beside them stands a matured vintage; at a younger age fewer have defaulted than they say.

Nothing is known of refused clients. Recall, specificity and cost per applicant are therefore estimates: observed for
the funded, and for the refused what their risks say.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from credit_risk.metrics.cost import costs
from credit_risk.metrics.discrimination import auc
from credit_risk.months import month_name, month_of
from credit_risk.schema.attributes import Floats
from monitoring.performance.loan_book import DEFAULTED_CODE, OPEN, Book, Rows
from monitoring.performance.performance import Mask, calibration_error
from monitoring.performance.poisson_binomial import bound

# Ages in months that vintages are compared at, beside that at which they are mature.
AGES = (3, 6, 12, 24)
# A share of fewer clients says more about luck, or about one of them, than about the model.
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
        The mean squared difference of risk and outcome.
    calibration_error : float
        See `performance.calibration_error`.
    """

    bad: float
    auc: float | None
    brier: float
    calibration_error: float

    @classmethod
    def of(cls, risk: Floats, bad: Floats) -> "Rating":
        """Return how risks do, given how likely each client is bad: with the risks themselves what they predict."""
        brier = (1 - bad) * risk**2 + bad * (1 - risk) ** 2
        return cls(float(bad.mean()), auc(risk, bad), float(brier.mean()), calibration_error(risk, bad))


@dataclass(frozen=True)
class Estimate:
    """Of all applicants: observed for the funded, by their risks for the refused. None where nobody is counted.

    Attributes
    ----------
    recall : float or None
        The share of good clients that was accepted.
    specificity : float or None
        The share of bad clients that was refused.
    cost : float
        Mean per applicant.
    """

    recall: float | None
    specificity: float | None
    cost: float

    @classmethod
    def of(cls, funded: Mask, bad: Floats) -> "Estimate":
        """Return the estimate, given how likely each client is bad."""
        good = 1 - bad
        recall = float(good[funded].sum() / good.sum()) if good.sum() else None
        specificity = float(bad[~funded].sum() / bad.sum()) if bad.sum() else None
        return cls(recall, specificity, float(costs(funded, bad).mean()))


@dataclass(frozen=True)
class Vintage:
    """The clients of one month; figures of fewer than 30 clients are not there.

    Attributes
    ----------
    month : str
        2026-03.
    applicants, funded, open : int
        All, those whose last word is green, and those of them without an outcome.
    age : int or None
        Months that all of them have behind them, as far as outcomes tell; None where none came yet.
    predicted : Rating or None
        What their risks say of the funded.
    observed : mapping of int to Rating
        What became of them by an age.
    estimated : mapping of int to Estimate
        Of all applicants, by an age.
    defaults, defaults_bound : int or None
        Of the funded of a matured vintage: how many defaulted by then, and how many luck explains in 97.5 of 100 cases
        when the risks are right.
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
class Overridden:
    """What people's overrides to one colour came to.

    Attributes
    ----------
    right, wrong : int
        Of those to green, who repaid and who defaulted, as far as known; None of those to red, for who was refused has
        no outcome.
    open : int
        Those of which nothing is known yet, or ever.
    predicted_wrong : float
        How many of all are wrong by the risks that were overridden.
    """

    right: int | None
    wrong: int | None
    open: int
    predicted_wrong: float


class Vintages:
    """The vintages of a book; only those that changed, or came to another age, are rated again."""

    def __init__(self, maturity: int) -> None:
        self._maturity = maturity
        self._known: dict[int, tuple[tuple[int, int | None], Vintage]] = {}

    def of(self, book: Book, now: datetime) -> tuple[Vintage, ...]:
        """Return the vintages, the oldest first."""
        until = None if book.told is None else min(book.told, now)
        found = {}
        for month in sorted(book.months):
            age = None if until is None else max(month_of(until) - month - 1, 0)
            state = (book.months[month].changes, age)
            known = self._known.get(month)
            if known is None or known[0] != state:
                known = (state, vintage(month, book.months[month].rows, age, self._maturity, book.groups))
            found[month] = known
        self._known = found
        return tuple(one for _, one in found.values())


def vintage(month: int, rows: Rows, age: int | None, maturity: int, groups: Sequence[tuple[str, str]] = ()) -> Vintage:
    """Return one vintage, given its decisions, shape (n,), and how many months all of them have behind them."""
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
        estimated={a: estimate(rows, a) for a in reached} if enough else {},
        defaults=int(bad[maturity].sum()) if mature else None,
        defaults_bound=bound(risk) if mature else None,
        acceptance=_acceptance(rows, groups),
    )


def defaulted(rows: Rows, age: int) -> Mask:
    """Return whose default came within so many months after the decision, shape (n,)."""
    days = rows["day"].astype("M8[D]")
    month = days.astype("M8[M]") + age
    # The same day of a later month, or its last one where it has no such day.
    limit = np.minimum(month.astype("M8[D]") + (days - days.astype("M8[M]")), (month + 1).astype("M8[D]") - 1)
    within: Mask = (rows["outcome"] == DEFAULTED_CODE) & (rows["outcome_day"] <= limit.astype(np.int64))
    return within


def estimate(rows: Rows, age: int) -> Estimate:
    """Return the estimate over all applicants at an age: observed for the funded, by their risks for the refused."""
    return Estimate.of(rows["final"], np.where(rows["final"], defaulted(rows, age), rows["risk"]))


def overridden(book: Book) -> dict[str, Overridden]:
    """Return what overrides to green and to red came to, over all of the book."""
    parts = [month.rows[month.rows["green"] != month.rows["final"]] for month in book.months.values()]
    rows = np.concatenate(parts) if parts else None
    if rows is None:
        return {}
    green, red = rows[rows["final"]], rows[~rows["final"]]
    n_open, n_wrong = (int(np.count_nonzero(green["outcome"] == code)) for code in (OPEN, DEFAULTED_CODE))
    return {
        "green": Overridden(len(green) - n_open - n_wrong, n_wrong, n_open, float(green["risk"].sum())),
        "red": Overridden(None, None, len(red), float((1 - red["risk"]).sum())),
    }


def _acceptance(rows: Rows, groups: Sequence[tuple[str, str]]) -> dict[tuple[str, str], float]:
    # Who belongs to which groups is one of a few hundred combinations: these are counted once, and then added up.
    members = np.bincount(rows["groups"], minlength=1 << len(groups))
    accepted = np.bincount(rows["groups"][rows["final"]], minlength=1 << len(groups))
    combinations = np.arange(1 << len(groups))
    found = {}
    for bit, group in enumerate(groups):
        within = (combinations >> bit) & 1 == 1
        if members[within].sum() >= MINIMUM:
            found[group] = float(accepted[within].sum() / members[within].sum())
    return found
