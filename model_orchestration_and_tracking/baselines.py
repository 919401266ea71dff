"""Baselines that the model is measured against: the pipelines commonly built on this data.

Each is a scikit-learn estimator on a frame of the attributes, whose labels are True for a bad
client. Where values are missing, numbers get the median and categories one of their own.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd
from lightgbm import LGBMClassifier
from numpy.typing import ArrayLike, NDArray
from scipy.stats import loguniform, randint
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import ColumnTransformer, make_column_transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_selection import SelectKBest, chi2
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
from sklearn.model_selection import RandomizedSearchCV, StratifiedKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.utils.validation import check_is_fitted

from credit_risk.schema.attributes import Floats
from credit_risk.schema.codec import encode
from credit_risk.schema.dataset import Dataset


def usual(seed: int, dataset: Dataset, n_iter: int = 5, folds: int = 5) -> RandomizedSearchCV:
    """Return the pipeline that people commonly build on this data.

    Categories are coded alphabetically, the 10 attributes of highest chi2 are kept, and LightGBM's
    hyperparameters are found by random search.
    """
    pipeline = Pipeline(
        [
            ("encode", alphabetical(dataset)),
            ("select", SelectKBest(chi2, k=10)),
            ("model", LGBMClassifier(n_jobs=1, verbosity=-1, random_state=seed)),
        ]
    )

    space = {
        "model__num_leaves": randint(8, 64),
        "model__learning_rate": loguniform(0.01, 0.3),
        "model__n_estimators": randint(50, 400),
        "model__min_child_samples": randint(5, 50),
        "model__colsample_bytree": [0.6, 0.8, 1.0],
    }

    cv = StratifiedKFold(folds, shuffle=True, random_state=seed)
    return RandomizedSearchCV(
        pipeline, space, n_iter=n_iter, scoring="roc_auc", cv=cv, random_state=seed, n_jobs=1
    )


def lgbm_default(seed: int, dataset: Dataset) -> Pipeline:
    """Return LightGBM with its default parameters, on alphabetical codes."""
    return make_pipeline(
        alphabetical(dataset), LGBMClassifier(n_jobs=1, verbosity=-1, random_state=seed)
    )


def logistic(seed: int, dataset: Dataset) -> Pipeline:
    """Return logistic regression on dummies and scaled numbers."""
    return make_pipeline(_dummies(dataset), LogisticRegression(max_iter=1000, random_state=seed))


def logistic_tuned(seed: int, dataset: Dataset) -> Pipeline:
    """Return the same with its penalty tuned by log loss over five folds."""
    model = LogisticRegressionCV(
        Cs=np.logspace(-3, 1, 9),
        cv=StratifiedKFold(5, shuffle=True, random_state=seed),
        scoring="neg_log_loss",
        max_iter=2000,
        l1_ratios=(0.0,),
        use_legacy_attributes=False,
        random_state=seed,
    )
    return make_pipeline(_dummies(dataset), model)


def _dummies(dataset: Dataset) -> ColumnTransformer:
    scored = dataset.scored_attributes
    numbers = [a.name for a in scored if not a.categories]
    categories = [a.name for a in scored if a.categories]
    return make_column_transformer(
        (
            make_pipeline(
                SimpleImputer(strategy="median", keep_empty_features=True), StandardScaler()
            ),
            numbers,
        ),
        (OneHotEncoder(handle_unknown="ignore"), categories),
    )


def logistic_woe(seed: int, dataset: Dataset) -> Pipeline:
    """Return logistic regression on weights of evidence, the classic scorecard."""
    categories = tuple(i for i, a in enumerate(dataset.scored_attributes) if a.categories)
    return make_pipeline(
        _codes(dataset),
        WeightOfEvidence(categories),
        LogisticRegression(max_iter=1000, random_state=seed),
    )


def forest(seed: int, dataset: Dataset) -> Pipeline:
    """Return a random forest on the schema's codes."""
    return make_pipeline(
        _codes(dataset),
        RandomForestClassifier(
            500, min_samples_leaf=3, max_features=4, n_jobs=1, random_state=seed
        ),
    )


BASELINES: dict[str, Callable[[int, Dataset], BaseEstimator]] = {
    "usual": usual,
    "lr": logistic,
    "lr-tuned": logistic_tuned,
    "lr-woe": logistic_woe,
    "rf": forest,
    "lgbm-default": lgbm_default,
}


class WeightOfEvidence(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Replaces an attribute's code by the weight of evidence of its bin.

    That is the log-odds of good that the bin had in training, less the overall log-odds. Missing
    values have a bin of their own.

    Parameters
    ----------
    categories : tuple of int
        The columns in which each code is a bin of its own.
    bins : int
        Number of quantile bins of any other column that has more distinct codes than this.
    prior : float
        Clients of average risk that are added to each bin, so that small bins are not trusted
        blindly.
    """

    def __init__(
        self, categories: tuple[int, ...] = (), bins: int = 8, prior: float = 30.0
    ) -> None:
        self.categories = categories
        self.bins = bins
        self.prior = prior

    def fit(self, X: Floats, y: ArrayLike) -> "WeightOfEvidence":
        """Learn the bins and their weights.

        Parameters
        ----------
        X : array of shape (n, k)
            Codes.
        y : array-like of shape (n,)
            Whether each client turned out bad.
        """
        bad = np.asarray(y, dtype=np.float64)
        share = bad.mean()
        self.edges_, self.weights_ = [], []

        for place, column in enumerate(X.T):
            known = column[~np.isnan(column)]
            distinct = np.unique(known)
            if len(distinct) > self.bins and place not in self.categories:
                distinct = np.unique(
                    np.quantile(known, np.linspace(0, 1, self.bins + 1)[1:], method="higher")
                )

            edges = distinct[:-1]
            member = _bins(edges, column)
            n = np.bincount(member, minlength=len(edges) + 2)
            n_bad = np.bincount(member, bad, minlength=len(edges) + 2)
            weight = n + self.prior
            risk = np.full(len(n), share)
            np.divide(n_bad + self.prior * share, weight, out=risk, where=weight > 0)

            self.edges_.append(edges)
            self.weights_.append(np.log((1 - risk) / risk) - np.log((1 - share) / share))

        return self

    def transform(self, X: Floats) -> Floats:
        """Return the weights of codes, shape (n, k)."""
        check_is_fitted(self)
        columns = zip(X.T, self.edges_, self.weights_, strict=True)
        return np.column_stack(
            [weights[_bins(edges, column)] for column, edges, weights in columns]
        )


def _bins(edges: Floats, column: Floats) -> NDArray[np.int64]:
    """Return the bin of each value; that of missing ones is the last."""
    return np.where(np.isnan(column), len(edges) + 1, np.searchsorted(edges, column))


def alphabetical(dataset: Dataset) -> ColumnTransformer:
    """Return the common encoding of all attributes.

    Categories are coded alphabetically; numbers are left as they are.
    """
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    # chi2 takes no negative codes, and a category without a row in the training fold gets one.
    shifted = make_pipeline(encoder, FunctionTransformer(_from_zero))
    categories = [a.name for a in dataset.attributes if a.categories]
    numbers = [a.name for a in dataset.attributes if not a.categories]
    return make_column_transformer(
        (shifted, categories),
        (SimpleImputer(strategy="median", keep_empty_features=True), numbers),
        verbose_feature_names_out=False,
    )


def _from_zero(codes: Floats) -> Floats:
    return np.nan_to_num(codes + 1)  # missing: as unknown


def _codes(dataset: Dataset) -> FunctionTransformer:
    return FunctionTransformer(_scored_codes, kw_args={"dataset": dataset})


def _scored_codes(frame: pd.DataFrame, dataset: Dataset) -> Floats:
    return encode(frame, dataset)[:, dataset.scored_columns]
