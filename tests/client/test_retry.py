"""What is tried again, for how long and how often, as a value and without a clock."""

import pytest

from dfclient import RetryPolicy
from dfclient.errors import (
    ContractError,
    InputError,
    ModelChanged,
    ModelNotFound,
    RequestRefused,
    ServerBusy,
    ServerError,
    ServerSlow,
    ServerUnavailable,
)
from dfclient.retry import NO_RETRIES, shortened

POLICY = RetryPolicy(wait_s=60, busy_s=15, slow_attempts=3)


@pytest.mark.parametrize(("kind", "patience_s"), [(ServerUnavailable, 60), (ServerBusy, 15)])
def test_patience_is_a_time(kind, patience_s):
    assert POLICY.final_error(kind("gone"), 1, 0.0) is None
    assert POLICY.final_error(kind("gone"), 10**6, patience_s - 0.01) is None
    final = POLICY.final_error(kind("gone"), 2, patience_s)
    assert type(final) is kind
    assert str(final) == f"gone (tried again for {patience_s} s)"


def test_a_missed_deadline_is_counted():
    assert POLICY.final_error(ServerSlow("no answer"), 2, 0.0) is None
    assert POLICY.final_error(ServerSlow("no answer"), 2, 10**6) is None
    assert str(POLICY.final_error(ServerSlow("no answer"), 3, 0.0)) == "no answer (tried 3 times)"


@pytest.mark.parametrize("kind", [ServerError, RequestRefused, ContractError, ModelNotFound, ModelChanged])
def test_what_would_fail_again_is_not_tried_again(kind):
    error = kind("no")
    assert POLICY.final_error(error, 1, 0.0) is error


def test_no_patience_at_all():
    for kind in (ServerUnavailable, ServerBusy):
        assert str(NO_RETRIES.final_error(kind("gone"), 1, 0.0)) == "gone"
    assert str(NO_RETRIES.final_error(ServerSlow("gone"), 1, 0.0)) == "gone (tried once)"


def test_pauses_grow_are_capped_and_shortened_by_chance():
    policy = RetryPolicy(first_pause_s=0.1, max_pause_s=2.0)
    assert [policy.pause_s(failures) for failures in range(1, 8)] == [0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]
    assert policy.pause_s(10**9) == 2.0
    pauses = {shortened(2.0) for _ in range(100)}
    assert len(pauses) == 100
    assert min(pauses) >= 1.0
    assert max(pauses) <= 2.0


@pytest.mark.parametrize(
    "wrong", [{"wait_s": -1}, {"busy_s": float("nan")}, {"max_pause_s": float("inf")}, {"slow_attempts": 0}]
)
def test_no_time_is_refused_and_named(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        RetryPolicy(**wrong)
