"""Converted 2D and hybrid networks that are much like another one give the logits of their own codebases."""

import pytest

from tests.support.golden2d import SIBLINGS, relative_error


@pytest.mark.long
@pytest.mark.parametrize("name", SIBLINGS)
def test_a_converted_network_gives_the_logits_of_its_codebase(name):
    assert relative_error(name) < 1e-5
