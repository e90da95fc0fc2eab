"""An identity is a number that other inputs don't share."""

from hypothesis import given
from hypothesis import strategies as st

from dfcontract.tensors import identity_of

PARTS = st.lists(st.text(st.characters(exclude_characters="\n", exclude_categories=("Cs",)), min_size=1), min_size=1)


@given(PARTS, PARTS)
def test_equal_for_equal_parts_alone(first, second):
    assert (identity_of(*first) == identity_of(*second)) == (first == second)


@given(PARTS)
def test_it_fits_a_signed_64_bit_tensor_and_is_not_zero(parts):
    assert identity_of(*parts) != 0
    assert -(2**63) <= identity_of(*parts) < 2**63
