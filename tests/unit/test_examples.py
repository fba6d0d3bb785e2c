"""The examples in docstrings run and give what they show."""

import doctest
import importlib

import pytest
from scbind.plan.digests import list_modules

EXAMPLES = [
    test
    for name in list_modules()
    for test in doctest.DocTestFinder(exclude_empty=True).find(importlib.import_module(f"scbind.{name}"))
    if test.examples
]


def test_what_others_call_has_an_example():
    assert len(EXAMPLES) >= 20


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_an_example_gives_what_it_shows(example, tmp_path):
    example.globs["folder"] = str(tmp_path)
    failed = []
    doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(example, out=failed.append)
    assert not failed, "".join(failed)
