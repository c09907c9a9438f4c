"""The examples in the docstrings of public names run and give what they say."""

import doctest
import inspect
from pathlib import Path

import pytest

import fastnst
from fastnst.backends import choosing


@pytest.mark.parametrize("name", fastnst.__all__)
def test_examples_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(choosing, "candidates", lambda: ())  # to try all takes seconds
    public = getattr(fastnst, name)
    home = vars(inspect.getmodule(public))
    tests = [
        test for test in doctest.DocTestFinder(recurse=False).find(public, name, globs=dict(home)) if test.examples
    ]
    assert tests, "no docstring, or one without an example"
    for test in tests:
        result = doctest.DocTestRunner().run(test)
        assert (result.failed, result.attempted > 0) == (0, True)
