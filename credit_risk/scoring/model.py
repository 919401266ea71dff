"""The scorer that the registry holds: schema encoding, LightGBM, decision by cost, reasons.

It keeps the trees as LightGBM's own text and plain numbers beside them, so that it can be stored without pickling
anybody's objects, and loaded with a list of trusted types that is ours (`TRUSTED`), not the artifact's.
"""

import logging
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import lightgbm as lgb
import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from credit_risk.metrics.cost import COST_BAD, COST_GOOD, threshold
from credit_risk.schema.attributes import BAD, GOOD, GREEN, RED, SCORED_COLUMNS, Floats
from credit_risk.schema.codec import encode
from credit_risk.schema.domain import Domain
from credit_risk.scoring.reason_codes import TEXTS, Reasons, Words, facts, reasons, sentences
from credit_risk.scoring.trees import Tree, binned, grow, merge, parse, write

if TYPE_CHECKING:
    from credit_risk.scoring.table_scorer import Kernel

logger = logging.getLogger(__name__)

# What skops may build when it loads a stored scorer.
TRUSTED = ["credit_risk.scoring.model.CreditScorer"]

# Small trees on random parts of attributes and clients: on data this small they beat LightGBM's defaults by .03 in AUC.
# `max_cat_to_onehot` and the like have no place here: all inputs are numbers, so all splits are numerical.
DEFAULT_PARAMS: dict[str, Any] = {
    "num_leaves": 8,
    "learning_rate": 0.036,
    "feature_fraction": 0.4,
    "bagging_fraction": 0.75,
    "bagging_freq": 1,
    "lambda_l2": 0.1,
    "min_data_in_leaf": 10,
    "monotone": False,
}


# What a fitted scorer makes of its text when it is first needed.
_MADE_AGAIN = ("booster", "trees", "kernel", "_words")

# From so many rows on the kernel is made where it is not there yet; for fewer, LightGBM is done before it would be.
MANY_ROWS = 2000


@dataclass(frozen=True)
class Decided:
    """Decisions on n applications: `risk` in [0, 1], `red` where refused, `confidence` in [.5, 1]; each shape (n,)."""

    risk: Floats
    red: NDArray[np.bool_]
    confidence: Floats

    def __len__(self) -> int:
        return len(self.risk)


class NotExplainable(ValueError):
    """The scorer was fitted without out-of-fold risks, so it does not know the accepted clients to compare with."""


@dataclass(frozen=True)
class Explained:
    """What made n risks: exact contributions to the log-odds of bad.

    Attributes
    ----------
    contributions : array of shape (n, 17)
        Of each scored attribute. Each row's sum plus `bias` is the log-odds of the risk.
    bias : float
    effects : array of shape (n, 17)
        The contributions less their means over accepted training clients. The sum of a red client's is positive.
    """

    contributions: Floats
    bias: float
    effects: Floats


def confidence(risk: ArrayLike, cost_bad: float = COST_BAD, cost_good: float = COST_GOOD) -> Floats:
    """Return how clear the decision is given the costs: the losing action's share of the two expected costs.

    Parameters
    ----------
    risk : array-like of shape (n,)
        Probability of class bad.

    Returns
    -------
    array of shape (n,)
        .5 at the threshold, 1 where the risk is 0 or 1.
    """
    accept = cost_bad * np.asarray(risk, dtype=np.float64)
    refuse = cost_good * (1 - np.asarray(risk, dtype=np.float64))
    return np.asarray(np.maximum(accept, refuse) / (accept + refuse))


class CreditScorer(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Probability of default by boosted trees, and the decision that costs least.

    The protected attributes are never inputs of the trees, whatever the frame holds.

    Parameters
    ----------
    params : dict, optional
        LightGBM parameters on top of `DEFAULT_PARAMS`; at most 8 leaves. `monotone`, true or false, is ours: whether
        the trees are held to the directions of `credit_risk.scoring.trees.MONOTONE`.
    num_boost_round : int
        How many trees.
    cost_bad, cost_good : float
        Cost of accepting a bad client, of refusing a good one; the threshold follows from them.
    seed : int
        Seed of LightGBM's feature and row sampling.
    members : list of dict, optional
        Several recipes, each with its own `params`, `num_boost_round` and `seed`, in place of the one above: each is
        grown, and their log-odds are averaged. The outcome is one booster of at most 1,250 trees.
    base_rate : float, optional
        Share of bad clients where the scorer decides, in (0, 1). Bad clients are more frequent in the training data
        than in any bank; the risks are corrected for that. By default the share in training.

    Attributes
    ----------
    classes_ : array
        `["bad", "good"]`, the order of `predict_proba`'s columns.
    model_text_ : str
        The trees, as LightGBM writes them.
    domain_ : dict
        The training ranges and categories, as `Domain.as_dict` gives them.
    bad_share_ : float
        Share of bad clients in training.
    accepted_ : dict or None
        What reasons compare with: mean contributions and facts of the training clients that would be accepted, and
        their share.
    texts_ : dict
        The words of the reasons.

    Examples
    --------
    >>> from credit_risk.training_data.data import read_training
    >>> clients = read_training("data/credit-g.csv")
    >>> scorer = CreditScorer().fit(clients, clients["class"])
    >>> scorer.predict_proba(clients).shape
    (1000, 2)
    """

    def __init__(
        self,
        params: dict[str, Any] | None = None,
        num_boost_round: int = 250,
        cost_bad: float = COST_BAD,
        cost_good: float = COST_GOOD,
        seed: int = 0,
        members: list[dict[str, Any]] | None = None,
        base_rate: float | None = None,
    ) -> None:
        self.params = params
        self.num_boost_round = num_boost_round
        self.cost_bad = cost_bad
        self.cost_good = cost_good
        self.seed = seed
        self.members = members
        self.base_rate = base_rate

    def fit(self, X: pd.DataFrame | Floats, y: ArrayLike, risk: ArrayLike | None = None) -> "CreditScorer":
        """Grow the trees.

        Parameters
        ----------
        X : DataFrame of applications, or their codes, shape (n, 20)
        y : array-like of "good" and "bad", shape (n,)
        risk : array-like of shape (n,), optional
            The same clients' risks by scorers like this one that had not seen them, from cross-validation. They tell
            who would be accepted, which `explain` compares with; without them the scorer explains nothing.

        Raises
        ------
        InvalidApplications
            When a cell is not valid.
        ValueError
            When a label is neither good nor bad, one class has no row, the parameters ask for more than 8 leaves or
            1,250 trees, or `base_rate` is not in (0, 1).
        """
        codes = _codes(X)
        labels = np.asarray(y)
        if set(np.unique(labels)) != {GOOD, BAD}:
            raise ValueError(f"y must hold {GOOD!r} and {BAD!r}, both; it holds {sorted(set(labels.tolist()))}")
        if self.base_rate is not None and not 0 < self.base_rate < 1:
            raise ValueError(f"base_rate is {self.base_rate}; it is a share between 0 and 1")
        data = binned(codes[:, SCORED_COLUMNS], labels == BAD)
        self.model_text_ = merge([grow(data, *recipe) for recipe in self.recipes()])
        self.domain_ = Domain.of(codes).as_dict()
        self.bad_share_ = float(np.mean(labels == BAD))
        self.classes_ = np.array([BAD, GOOD])
        self.n_features_in_ = codes.shape[1]
        for name in _MADE_AGAIN:
            self.__dict__.pop(name, None)
        self.texts_ = dict(TEXTS)
        self.accepted_ = None if risk is None else self._accepted(codes, np.asarray(risk, dtype=np.float64))
        return self

    def _accepted(self, codes: Floats, risk: Floats) -> dict[str, Any]:
        # Where the costs are such that nobody would be accepted, the client of least risk is what is nearest to it.
        accepted = risk < max(self.threshold, np.nextafter(risk.min(), 1))
        contributions = self._contributions(codes[accepted])[:, :-1]
        return {
            "share": float(np.mean(risk < self.threshold)),
            "contributions": contributions.mean(axis=0).tolist(),
            "facts": facts(codes, accepted),
        }

    def recipes(self) -> list[tuple[dict[str, Any], int, int]]:
        """Return the LightGBM parameters, number of trees and seed of each member; of the one that is no average."""
        own = {"params": self.params, "num_boost_round": self.num_boost_round, "seed": self.seed}
        members = [own | member for member in self.members or [{}]]
        return [(DEFAULT_PARAMS | (m["params"] or {}), m["num_boost_round"], m["seed"]) for m in members]

    @cached_property
    def booster(self) -> lgb.Booster:
        """The trees, ready to score.

        LightGBM's reader, which checks little, gets what we have written of trees that were checked, not the text.
        """
        return lgb.Booster(model_str=write(self.trees))

    @cached_property
    def trees(self) -> list[Tree]:
        """The trees, node by node."""
        check_is_fitted(self)
        return parse(self.model_text_)

    @cached_property
    def kernel(self) -> "Kernel | None":
        """The trees as tables, which score fastest; None where LightGBM has to score them, which is logged."""
        from credit_risk.scoring.table_scorer import (  # takes a second to import, which few rows need not wait for
            Kernel,
            Unsuited,
        )

        try:
            kernel = Kernel(self.trees)
            kernel.check(self.booster)
        except (Unsuited, OSError) as error:  # OSError: what was compiled cannot be stored
            logger.warning("LightGBM scores in place of the kernel, which is many times slower: %s", error)
            return None
        return kernel

    def warm_up(self) -> None:
        """Make now what is else made at the first rows: the kernel, compiled, compared with LightGBM on a probe.

        A server calls it when it loads a version. From then on the kernel scores and explains any number of rows.
        """
        _ = self.kernel

    def _kernel_for(self, n: int) -> "Kernel | None":
        return self.kernel if n >= MANY_ROWS or "kernel" in self.__dict__ else None

    @property
    def prior(self) -> float:
        """The share of bad clients that the risks are meant for: `base_rate`, or that of training."""
        return self.bad_share_ if self.base_rate is None else self.base_rate

    @property
    def shift(self) -> float:
        """What the correction for the base rate adds to the trees' log-odds."""
        return 0.0 if self.base_rate is None else _logit(self.base_rate) - _logit(self.bad_share_)

    @property
    def threshold(self) -> float:
        """The risk from which a client costs less refused than accepted."""
        return threshold(self.cost_bad, self.cost_good)

    @property
    def acceptance(self) -> float | None:
        """The share of the training clients that it would accept, out of fold; None where it was not told."""
        return None if self.accepted_ is None else float(self.accepted_["share"])

    @property
    def domain(self) -> Domain:
        """What the trees saw in training."""
        return Domain.from_dict(self.domain_)

    def risk(self, codes: Floats) -> Floats:
        """Return the probability of class bad, shape (n,), for encoded applications, shape (n, 20)."""
        if not len(codes):
            return np.empty(0)
        if kernel := self._kernel_for(len(codes)):
            risk = kernel.risks(codes)
        else:
            # Threads pay off from some thousand rows on; for one they only cost.
            threads = 1 if len(codes) < MANY_ROWS else 0
            risk = np.asarray(self.booster.predict(codes[:, SCORED_COLUMNS], num_threads=threads))
        if self.base_rate is None:
            return risk
        odds = risk / (1 - risk) * np.exp(self.shift)
        return np.asarray(odds / (1 + odds))

    def decide(self, codes: Floats) -> Decided:
        """Return the decisions on encoded applications, shape (n, 20): red where refusing costs less."""
        risk = self.risk(codes)
        return Decided(risk, risk >= self.threshold, confidence(risk, self.cost_bad, self.cost_good))

    def explain(self, codes: Floats) -> Explained:
        """Return what made the risks of encoded applications, shape (n, 20), by exact tree SHAP.

        Raises
        ------
        NotExplainable
            When the scorer was fitted without out-of-fold risks.
        """
        if self.accepted_ is None:
            raise NotExplainable("fitted without out-of-fold risks; hand them to fit(X, y, risk)")
        found = self._contributions(codes)
        contributions, bias = found[:, :-1], float(found[0, -1]) if len(found) else 0.0
        effects = contributions - np.array(self.accepted_["contributions"])
        return Explained(contributions, bias + self.shift, effects)

    def reasons(self, codes: Floats, red: NDArray[np.bool_] | None = None) -> list[Reasons]:
        """Return the reasons for the decisions on encoded applications, shape (n, 20), in words.

        Parameters
        ----------
        codes : array of shape (n, 20)
        red : array of bool, shape (n,), optional
            Which were refused; found again where it is not said.

        Raises
        ------
        NotExplainable
            When the scorer was fitted without out-of-fold risks.
        """
        return reasons(codes, *self._grounds(codes, red))

    def sentences(self, codes: Floats) -> pa.Array:
        """Return what speaks for each decision on encoded applications, shape (n, 20), as one text a client.

        Raises
        ------
        NotExplainable
            When the scorer was fitted without out-of-fold risks.
        """
        return sentences(codes, *self._grounds(codes))

    def _grounds(self, codes: Floats, red: NDArray[np.bool_] | None = None) -> tuple[Floats, NDArray[np.bool_], Words]:
        """Return what reasons are made of: effects, who is red, and the words."""
        effects = self.explain(codes).effects
        return effects, self.decide(codes).red if red is None else red, self._words

    @cached_property
    def _words(self) -> Words:
        assert self.accepted_ is not None
        return Words(self.accepted_["facts"], self.texts_)

    def _contributions(self, codes: Floats) -> Floats:
        if not len(codes):
            return np.empty((0, len(SCORED_COLUMNS) + 1))
        if kernel := self._kernel_for(len(codes)):
            return kernel.contributions(codes)
        threads = 1 if len(codes) < 100 else 0
        return np.asarray(self.booster.predict(codes[:, SCORED_COLUMNS], pred_contrib=True, num_threads=threads))

    def predict_proba(self, X: pd.DataFrame | Floats) -> Floats:
        """Return the probabilities of bad and of good, shape (n, 2), for applications or their codes."""
        risk = self.risk(_codes(X))
        return np.column_stack([risk, 1 - risk])

    def predict(self, X: pd.DataFrame | Floats) -> NDArray[np.str_]:
        """Return whom the bank takes each applicant for, shape (n,): bad from the threshold on, as `decide` has it."""
        return np.where(self.decide(_codes(X)).red, BAD, GOOD)

    def decisions(self, X: pd.DataFrame) -> pd.DataFrame:
        """Return what the Risk-O-Meter decides on applications: `risk`, `prediction` (green or red), `confidence`.

        It is what the model does that MLflow loads for others (`credit_risk.registry.logged`).

        Parameters
        ----------
        X : DataFrame of n applications, as the schema has them; other columns are ignored

        Returns
        -------
        DataFrame of n rows, indexed as X

        Raises
        ------
        InvalidApplications
            When a column is missing or a cell is not valid.
        """
        made = self.decide(encode(X))
        prediction = np.where(made.red, RED, GREEN)
        return pd.DataFrame({"risk": made.risk, "prediction": prediction, "confidence": made.confidence}, X.index)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what the text makes again."""
        state: dict[str, Any] = super().__getstate__()
        return {name: value for name, value in state.items() if name not in _MADE_AGAIN}


def _codes(X: pd.DataFrame | Floats) -> Floats:
    return encode(X) if isinstance(X, pd.DataFrame) else np.asarray(X, dtype=np.float64)


def _logit(share: float) -> float:
    return float(np.log(share / (1 - share)))
