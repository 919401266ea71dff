"""The scorer that the registry holds: schema encoding, LightGBM, decision by cost, reasons.

It keeps the trees as LightGBM's own text, and plain numbers beside them. So it can be stored
without pickling any objects, and loaded with a list of trusted types that is ours (`TRUSTED`), not
the artifact's.
"""

from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin

from credit_risk.metrics.cost import COST_BAD, COST_GOOD, threshold
from credit_risk.schema.attributes import BAD, GOOD, GREEN, RED, Floats, Labels
from credit_risk.schema.codec import encode
from credit_risk.schema.dataset import Costs, Dataset
from credit_risk.schema.dataset_file import load_dataset
from credit_risk.schema.domain import Domain
from credit_risk.scoring.decisions import Decisions, confidence
from credit_risk.scoring.ensemble import TreeEnsemble
from credit_risk.scoring.explanation import Explanation, NotExplainable
from credit_risk.scoring.inputs import Inputs
from credit_risk.scoring.reason_codes import (
    Reasons,
    ReasonTexts,
    comparison_facts,
    reason_texts,
    reasons,
    sentences,
)
from credit_risk.scoring.trees import binned, grow, merge

# What skops may build when it loads a stored scorer.
TRUSTED = ["credit_risk.scoring.model.CreditScorer"]

# Small trees on random parts of attributes and clients: on data this small, they beat LightGBM's
# defaults by .03 in AUC. Parameters for categorical splits, such as `max_cat_to_onehot`, have no
# effect: all inputs are numbers, so all splits are numerical.
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

# Attributes that a fitted scorer derives from the others when they are first needed.
_DERIVED = ("booster", "trees", "kernel", "dataset", "inputs", "_written")


class CreditScorer(TreeEnsemble, ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Probability of default by boosted trees, and the decision that costs least.

    The protected attributes are never inputs of the trees, whatever the frame holds.

    Parameters
    ----------
    params : dict, optional
        LightGBM parameters on top of `DEFAULT_PARAMS`; at most 8 leaves. `monotone`, true or false,
        is our own: whether the trees are held to the directions that the definition knows.
    num_boost_round : int
        Number of trees.
    cost_bad, cost_good : float
        Cost of accepting a bad client, of refusing a good one; the threshold follows from them.
    seed : int
        Seed of LightGBM's feature and row sampling.
    members : list of dict, optional
        Several recipes in place of the one above, each with its own `params`, `num_boost_round` and
        `seed`. Each is grown, and their log-odds are averaged. The result is one booster of at most
        1,250 trees.
    base_rate : float, optional
        Share of bad clients where the scorer decides, in (0, 1). Bad clients are more frequent in
        the training data than in any bank, and the risks are corrected for that. By default, the
        share in training.
    definition : str, optional
        The data set's definition, as `Dataset.text` gives it; that of German Credit by default.

    Attributes
    ----------
    definition_ : str
        The definition that the trees were grown by.
    ranks_ : dict
        The rank of each value of the attributes that are ordered by bad rate; see `Inputs`.
    classes_ : array
        `["bad", "good"]`, the order of `predict_proba`'s columns.
    model_text_ : str
        The trees, as LightGBM writes them.
    domain_ : dict
        The training ranges and categories, as `Domain.as_dict` gives them.
    bad_share_ : float
        Share of bad clients in training.
    accepted_ : dict or None
        What reasons compare with: mean contributions and facts of the training clients that would
        be accepted, and their share.
    texts_ : dict
        The texts of the reasons.

    Examples
    --------
    >>> from credit_risk.schema.dataset_file import load_dataset
    >>> from credit_risk.training_data.data import read_training
    >>> clients = read_training("data/credit-g.csv", load_dataset("german_credit"))
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
        definition: str | None = None,
    ) -> None:
        self.params = params
        self.num_boost_round = num_boost_round
        self.cost_bad = cost_bad
        self.cost_good = cost_good
        self.seed = seed
        self.members = members
        self.base_rate = base_rate
        self.definition = definition

    def fit(
        self, X: pd.DataFrame | Floats, y: ArrayLike, risk: ArrayLike | None = None
    ) -> "CreditScorer":
        """Grow the trees.

        Parameters
        ----------
        X : DataFrame of applications, or their codes, shape (n, n_attributes)
        y : array-like of "good" and "bad", shape (n,)
        risk : array-like of shape (n,), optional
            Out-of-fold risks of the same clients, from cross-validation of scorers like this one.
            They say who would be accepted, which `explain` compares with. Without them the scorer
            cannot explain.

        Raises
        ------
        InvalidApplications
            When a cell is not valid.
        ValueError
            When a label is neither good nor bad, one class has no row, the parameters ask for more
            than 8 leaves or 1,250 trees, or `base_rate` is not in (0, 1).
        """
        for name in _DERIVED:
            self.__dict__.pop(name, None)
        self.definition_ = load_dataset().text if self.definition is None else self.definition

        codes = self._codes(X)
        labels = np.asarray(y)
        bad = labels == BAD
        if set(np.unique(labels)) != {GOOD, BAD}:
            raise ValueError(
                f"y must hold {GOOD!r} and {BAD!r}, both; it holds {sorted(set(labels.tolist()))}"
            )
        if self.base_rate is not None and not 0 < self.base_rate < 1:
            raise ValueError(f"base_rate is {self.base_rate}; it is a share between 0 and 1")

        self.ranks_ = Inputs.fit(self.dataset, codes, bad).ranks
        bins = binned(self.inputs.of(codes), self.dataset, bad)
        self.model_text_ = merge([grow(bins, *recipe) for recipe in self.recipes()])
        self.domain_ = Domain.of(codes, self.dataset).as_dict()
        self.bad_share_ = float(np.mean(bad))
        self.classes_ = np.array([BAD, GOOD])
        self.n_features_in_ = codes.shape[1]
        self.texts_ = reason_texts(self.dataset)
        self.accepted_: dict[str, Any] | None = None
        if risk is not None:
            self.accepted_ = self._accepted(codes, np.asarray(risk, dtype=np.float64))

        return self

    def _accepted(self, codes: Floats, risk: Floats) -> dict[str, Any]:
        # If the costs are such that nobody would be accepted, the client of least risk stands in.
        accepted = risk < max(self.threshold, np.nextafter(risk.min(), 1))
        contributions = self.contributions(codes[accepted])[:, :-1]

        return {
            "share": float(np.mean(risk < self.threshold)),
            "contributions": contributions.mean(axis=0).tolist(),
            "facts": comparison_facts(codes, accepted, self.dataset),
        }

    def recipes(self) -> list[tuple[dict[str, Any], int, int]]:
        """Return each member's LightGBM parameters, number of trees and seed.

        A scorer without members is its own only member.
        """
        own = {"params": self.params, "num_boost_round": self.num_boost_round, "seed": self.seed}
        members = [own | member for member in self.members or [{}]]

        return [
            (DEFAULT_PARAMS | (m["params"] or {}), m["num_boost_round"], m["seed"]) for m in members
        ]

    @cached_property
    def dataset(self) -> Dataset:
        """What an application is, by the definition that the trees were grown by.

        Versions that were registered before there were definitions are German Credit's.
        """
        definition = getattr(self, "definition_", self.definition)
        return load_dataset() if definition is None else Dataset.model_validate_json(definition)

    @cached_property
    def inputs(self) -> Inputs:
        """What the trees see of an application."""
        return Inputs(self.dataset, getattr(self, "ranks_", {}))

    @property
    def prior(self) -> float:
        """The share of bad clients that the risks assume: `base_rate`, or that in training."""
        return self.bad_share_ if self.base_rate is None else self.base_rate

    @property
    def shift(self) -> float:
        """What the correction for the base rate adds to the trees' log-odds."""
        return 0.0 if self.base_rate is None else _logit(self.base_rate) - _logit(self.bad_share_)

    @property
    def costs(self) -> Costs:
        """What wrong decisions cost."""
        return Costs(bad=self.cost_bad, good=self.cost_good, by=self.dataset.costs.by)

    @property
    def threshold(self) -> float:
        """The risk from which a client costs less refused than accepted."""
        return threshold(self.cost_bad, self.cost_good)

    @property
    def acceptance(self) -> float | None:
        """The share of training clients that it would accept, out of fold; None if unknown."""
        return None if self.accepted_ is None else float(self.accepted_["share"])

    @property
    def domain(self) -> Domain:
        """What the trees saw in training."""
        return Domain.from_dict(self.domain_)

    def risk(self, codes: Floats) -> Floats:
        """Return the probability of class bad, shape (n,).

        Parameters
        ----------
        codes : array of shape (n, n_attributes)
            Encoded applications.
        """
        risk = self.tree_risk(codes)
        if self.base_rate is None:
            return risk

        odds = risk / (1 - risk) * np.exp(self.shift)
        return np.asarray(odds / (1 + odds))

    def decide(self, codes: Floats) -> Decisions:
        """Return the decisions on encoded applications, shape (n, n_attributes).

        A client is red where refusing costs less.
        """
        risk = self.risk(codes)
        clear = confidence(risk, self.cost_bad, self.cost_good)

        return Decisions(risk, red=risk >= self.threshold, confidence=clear)

    def explain(self, codes: Floats) -> Explanation:
        """Return what led to the risks of encoded applications, by exact tree SHAP.

        Raises
        ------
        NotExplainable
            When the scorer was fitted without out-of-fold risks.
        """
        if self.accepted_ is None:
            raise NotExplainable("fitted without out-of-fold risks; hand them to fit(X, y, risk)")

        found = self.contributions(codes)
        contributions = found[:, :-1]
        bias = float(found[0, -1]) if len(found) else 0.0
        effects = contributions - np.array(self.accepted_["contributions"])

        return Explanation(contributions, bias + self.shift, effects)

    def reasons(
        self, codes: Floats, red: NDArray[np.bool_] | None = None, labels: Labels = "meaning"
    ) -> list[Reasons]:
        """Return the reasons for the decisions on encoded applications, in words.

        Parameters
        ----------
        codes : array of shape (n, n_attributes)
        red : array of bool, shape (n,), optional
            Which were refused; decided again if it is not given.
        labels : str
            See `ReasonTexts`.

        Raises
        ------
        NotExplainable
            When the scorer was fitted without out-of-fold risks.
        """
        effects = self.explain(codes).effects
        if red is None:
            red = self.decide(codes).red

        return reasons(codes, effects, red, self._reason_texts(labels))

    def sentences(self, codes: Floats, labels: Labels = "meaning") -> pa.Array:
        """Return the reasons for each decision on encoded applications as one text a client.

        See `credit_risk.scoring.reason_codes.sentences`.

        Raises
        ------
        NotExplainable
            When the scorer was fitted without out-of-fold risks.
        """
        effects = self.explain(codes).effects
        return sentences(codes, effects, self.decide(codes).red, self._reason_texts(labels))

    def _reason_texts(self, labels: Labels) -> ReasonTexts:
        assert self.accepted_ is not None
        facts = self.accepted_["facts"]
        kept: dict[Labels, ReasonTexts] = self.__dict__.setdefault("_written", {})
        if labels not in kept:
            kept[labels] = ReasonTexts(self.dataset, facts, self.texts_, labels)
        return kept[labels]

    def predict_proba(self, X: pd.DataFrame | Floats) -> Floats:
        """Return the probabilities of bad and of good, shape (n, 2)."""
        risk = self.risk(self._codes(X))
        return np.column_stack([risk, 1 - risk])

    def predict(self, X: pd.DataFrame | Floats) -> NDArray[np.str_]:
        """Return the predicted classes, shape (n,): bad where `decide` refuses."""
        return np.where(self.decide(self._codes(X)).red, BAD, GOOD)

    def decisions(self, X: pd.DataFrame) -> pd.DataFrame:
        """Return the Risk-O-Meter's decisions on applications.

        This is what the model does when others load it from MLflow
        (`credit_risk.registry.logged`).

        Parameters
        ----------
        X : DataFrame of n applications, as in the schema; other columns are ignored

        Returns
        -------
        DataFrame of n rows, indexed as X
            `risk`, `prediction` (green or red), `confidence`.

        Raises
        ------
        InvalidApplications
            When a column is missing or a cell is not valid.
        """
        made = self.decide(encode(X, self.dataset))
        prediction = np.where(made.red, RED, GREEN)

        return pd.DataFrame(
            {"risk": made.risk, "prediction": prediction, "confidence": made.confidence}, X.index
        )

    def _codes(self, X: pd.DataFrame | Floats) -> Floats:
        if isinstance(X, pd.DataFrame):
            return encode(X, self.dataset)
        return np.asarray(X, dtype=np.float64)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what is derived from the other attributes, and what the definition repeats."""
        state: dict[str, Any] = super().__getstate__()
        if "definition_" in state:
            state = state | {"definition": None}
        return {name: value for name, value in state.items() if name not in _DERIVED}


def _logit(share: float) -> float:
    return float(np.log(share / (1 - share)))
