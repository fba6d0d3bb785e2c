"""Work in several threads, each with one of PyTorch's."""

import threading

import pytest
import torch
from scbind.core.devices import in_flight, in_threads


@pytest.fixture
def three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def test_results_come_in_order_from_threads_that_have_one_each(three_threads):
    together = threading.Barrier(3, timeout=30)  # passed only if three items are worked on at a time

    def work(item):
        together.wait()
        return item, torch.get_num_threads(), threading.get_ident()

    found = list(in_threads(work, range(9)))
    assert [item for item, _, _ in found] == list(range(9))
    assert {threads for _, threads, _ in found} == {1}
    assert len({ident for _, _, ident in found}) == 3
    assert torch.get_num_threads() == 3


def test_no_more_is_computed_ahead_than_is_said(three_threads):
    taken, most = [], in_flight()
    results = in_threads(lambda item: item, (taken.append(item) or item for item in range(100)))
    assert [next(results) for _ in range(5)] == list(range(5))
    assert len(taken) < 5 + most
    results.close()
    assert torch.get_num_threads() == 3


def test_an_error_arrives_at_its_place_and_ends_the_rest(three_threads):
    begun = []

    def work(item):
        begun.append(item)
        if item == 2:
            raise ValueError("two")
        return item

    found = []
    with pytest.raises(ValueError, match="two"):
        for result in in_threads(work, range(1000)):
            found.append(result)
    assert found == [0, 1]
    assert len(begun) < 20
    assert torch.get_num_threads() == 3


def test_one_thread_needs_no_others():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        here = threading.get_ident()
        assert in_flight() == 1
        assert list(in_threads(lambda item: threading.get_ident(), range(3))) == [here] * 3
    finally:
        torch.set_num_threads(before)
