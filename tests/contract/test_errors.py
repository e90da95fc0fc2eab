"""Codes cross the wire whatever a server puts around them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfcontract.errors import ErrorCode, coded, split_code


@given(st.sampled_from(ErrorCode), st.text())
def test_a_code_comes_back_with_its_words(code, text):
    assert split_code(coded(code, text)) == (code, text)


@pytest.mark.parametrize("code", ErrorCode)
def test_a_servers_own_words_before_it_do_no_harm(code):
    told = f"[request id: x] inference failed: {coded(code, 'why')}"
    assert split_code(told) == (code, "why")


@pytest.mark.parametrize(
    "text", ["", "Exceeds maximum queue size", "DF_NO_SUCH_CODE: x", "XDF_BAD_STREAM: x", "DF_: x"]
)
def test_what_is_no_code_of_ours_stays_as_it_is(text):
    assert split_code(text) == (None, text)
