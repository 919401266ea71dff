import numpy as np
import pytest
from scipy.stats import binom, norm, poisson_binom

from monitoring.performance.poisson_binomial import chances, upper_bound


def test_small_distributions_by_hand():
    assert chances(np.array([0.1, 0.5])) == pytest.approx([0.45, 0.5, 0.05])
    assert chances(np.array([0.2, 0.3, 0.4])).sum() == pytest.approx(1)
    assert chances(np.empty(0)) == pytest.approx([1])
    assert upper_bound(np.array([0.1, 0.5])) == 2
    assert upper_bound(np.zeros(50)) == 0
    assert upper_bound(np.ones(50)) == 50


@pytest.mark.parametrize("n", [1, 2, 31, 100, 1000])
def test_the_distribution_equals_scipys(n):
    risk = np.random.default_rng(n).beta(1, 8, n)
    assert np.cumsum(chances(risk)) == pytest.approx(
        poisson_binom(risk).cdf(np.arange(n + 1)), abs=1e-12
    )


def test_equal_risks_are_binomial_and_many_are_nearly_normal():
    assert upper_bound(np.full(200, 0.1)) == binom(200, 0.1).ppf(0.975)
    risk = np.random.default_rng(0).beta(1, 8, 100_000)
    normal = norm(risk.sum(), np.sqrt((risk * (1 - risk)).sum())).ppf(0.975)
    assert upper_bound(risk) == pytest.approx(normal, abs=2)


def test_the_bound_is_a_quantile_of_the_poisson_binomial():
    assert upper_bound(np.empty(0)) == 0
    for n in (1, 30, 101):
        assert upper_bound(np.full(n, 0.1)) == binom(n, 0.1).ppf(0.975)
    risks = np.random.default_rng(0).uniform(0.01, 0.3, 45)
    assert upper_bound(risks) == poisson_binom(list(risks)).ppf(0.975)
