"""The trees of a fitted scorer in each form that it uses: parsed, as a booster, as a kernel."""

import logging
from functools import cached_property
from typing import TYPE_CHECKING

import lightgbm as lgb
import numpy as np
from sklearn.utils.validation import check_is_fitted

from credit_risk.schema.attributes import Floats
from credit_risk.schema.dataset import Dataset
from credit_risk.scoring.inputs import Inputs
from credit_risk.scoring.tree_text import Tree, parse, write

if TYPE_CHECKING:
    from credit_risk.scoring.table_scorer import Kernel

logger = logging.getLogger(__name__)

# Rows from which the kernel is worth building. For fewer, LightGBM is done sooner.
MANY_ROWS = 2000
# Rows from which LightGBM explains faster with several threads.
_MANY_EXPLAINED_ROWS = 100


class TreeEnsemble:
    """Trees that are kept as LightGBM's text, and made ready to score when they are first needed.

    Attributes
    ----------
    model_text_ : str
        The trees, as LightGBM writes them.
    """

    model_text_: str

    @property
    def dataset(self) -> Dataset:
        """What an application is."""
        raise NotImplementedError

    @property
    def inputs(self) -> Inputs:
        """What the trees see of it."""
        raise NotImplementedError

    @cached_property
    def booster(self) -> lgb.Booster:
        """The trees, ready to score.

        LightGBM's reader checks little, so it does not get the stored text, but what we write from
        the parsed and checked trees.
        """
        return lgb.Booster(model_str=write(self.trees, self.dataset.scored))

    @cached_property
    def trees(self) -> list[Tree]:
        """The trees, node by node."""
        check_is_fitted(self)
        return parse(self.model_text_, self.dataset.scored)

    @cached_property
    def kernel(self) -> "Kernel | None":
        """The trees as tables, which score fastest.

        None where LightGBM has to score instead, which is logged.
        """
        # Importing it takes a second, which a few rows need not wait for.
        from credit_risk.scoring.table_scorer import Kernel, UnsupportedModel

        try:
            kernel = Kernel(self.trees, self.dataset)
            kernel.check(self.booster)
        except (UnsupportedModel, OSError) as error:  # OSError: the compiled code cannot be stored
            logger.warning(
                "LightGBM scores in place of the kernel, which is many times slower: %s", error
            )
            return None

        return kernel

    def warm_up(self) -> None:
        """Compile the kernel now, and compare it with LightGBM on a probe.

        Otherwise that happens with the first rows. A server calls this when it loads a version.
        From then on the kernel scores and explains any number of rows.
        """
        _ = self.kernel

    def _kernel_for(self, n: int) -> "Kernel | None":
        return self.kernel if n >= MANY_ROWS or "kernel" in self.__dict__ else None

    def tree_risk(self, codes: Floats) -> Floats:
        """Return the trees' probability of class bad, shape (n,), without a base-rate correction.

        Parameters
        ----------
        codes : array of shape (n, n_attributes)
            Encoded applications.
        """
        if not len(codes):
            return np.empty(0)

        if kernel := self._kernel_for(len(codes)):
            return kernel.risks(self.inputs.ranked(codes))

        # Threads pay off from a few thousand rows on; for a single row they only cost time.
        threads = 1 if len(codes) < MANY_ROWS else 0
        return np.asarray(self.booster.predict(self.inputs.of(codes), num_threads=threads))

    def contributions(self, codes: Floats) -> Floats:
        """Return SHAP values, shape (n, n_scored + 1), for encoded applications.

        `codes` has shape (n, n_attributes). The last column is the bias.
        """
        if not len(codes):
            return np.empty((0, len(self.dataset.scored) + 1))

        if kernel := self._kernel_for(len(codes)):
            return kernel.contributions(self.inputs.ranked(codes))

        threads = 1 if len(codes) < _MANY_EXPLAINED_ROWS else 0
        return np.asarray(
            self.booster.predict(self.inputs.of(codes), pred_contrib=True, num_threads=threads)
        )
