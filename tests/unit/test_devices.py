"""Work in several threads, each with one of PyTorch's."""

import ast
import os
import tempfile
import threading

import pytest
import torch
from scbind.core.devices import choose_device, in_flight, in_threads, prediction_device
from scbind.plan import digests


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


@pytest.mark.parametrize(
    ("granted", "there", "chosen"), [(0, 2, ("cpu", 1)), (1, 2, ("cuda", 1)), (4, 2, ("cuda", 2))]
)
def test_training_and_prediction_choose_the_same_device(monkeypatch, granted, there, chosen):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # there is nothing to choose
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: there)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "a card")
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    assert choose_device(granted) == chosen
    assert torch.backends.cudnn.allow_tf32, "training may be fast"
    assert prediction_device(granted) == chosen[0]
    assert not torch.backends.cudnn.allow_tf32


def test_a_gpu_is_chosen_before_cuda_is_asked(monkeypatch, tmp_path):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    seen = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: seen.append(os.environ["CUDA_VISIBLE_DEVICES"]))
    choose_device(0)
    choose_device(1)
    assert seen == ["5"]


def test_no_other_module_asks_whether_there_is_a_gpu():
    asking = set()
    for module in digests.list_modules():
        tree = ast.parse((digests.PACKAGE / f"{module.replace('.', '/')}.py").read_text())
        if any(isinstance(node, ast.Attribute) and node.attr == "is_available" for node in ast.walk(tree)):
            asking.add(module)
    assert asking == {"core.devices"}
