import numpy as np
import pytest
from scbind.analysis.adjustment import adjust
from scbind.analysis.linkmodel import _density, _log_density
from scipy import stats


@pytest.mark.parametrize("n", [0, 1, 7, 1000])
def test_adjusted_p_values_are_those_of_scipy(n):
    p = np.random.default_rng(n).random(n) ** 3
    p[: n // 3] = p[n // 3 : 2 * (n // 3)]  # ties
    expected = stats.false_discovery_control(p) if n else p
    assert adjust(p).tobytes() == expected.tobytes()


@pytest.mark.parametrize("wrong", [-0.1, 1.1, np.nan])
def test_what_is_no_p_value_is_refused(wrong):
    with pytest.raises(ValueError, match="between 0 and 1"):
        adjust(np.array([0.5, wrong]))


def test_densities_are_those_of_scipy():
    z = np.linspace(-40, 40, 1001)
    assert _density(z, 0.3, 1.7).tobytes() == stats.norm.pdf(z, 0.3, 1.7).tobytes()
    assert _log_density(z, 0.3, 1.7).tobytes() == stats.norm.logpdf(z, 0.3, 1.7).tobytes()
