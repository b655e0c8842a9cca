"""Large converted 3D networks give the logits of their own codebases."""

import pytest

from tests.support.golden3d import SIBLINGS, assert_same_logits


@pytest.mark.long
@pytest.mark.parametrize("name", SIBLINGS)
def test_a_converted_network_gives_the_logits_of_its_codebase(name):
    assert_same_logits(name)
