import numpy as np
import pandas as pd
import pytest
from scbind.analysis.adjustment import adjust, by_family, tf_families
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


def test_a_family_is_adjusted_as_if_it_were_alone():
    p, family = np.random.default_rng(0).random(90) ** 3, np.repeat([2, 0, 1], 30)
    p[::7] = np.nan
    found = by_family(adjust, p, family)
    for name in range(3):
        here = (family == name) & np.isfinite(p)
        assert found[here].tobytes() == adjust(p[here]).tobytes()
    assert (np.isnan(found) == np.isnan(p)).all() and not by_family(adjust, p[:0], family[:0]).size


def test_tfs_differ_in_family_by_evidence_and_by_whether_they_are_abstained_on():
    marks = pd.DataFrame(
        {"evidence": ["chip", "motif", "chip", "motif", "chip"], "reliability_abstained": [0, 0, 1, 1, 0]},
        index=list("abcde"),
    )
    assert tf_families(marks).to_dict() == {"a": 0, "b": 1, "c": 2, "d": 3, "e": 0}
