"""Which requests count as too late: by the client's word, as far as it can be true."""

import json

import pytest

from dfdeploy.backends.common.lateness import Lateness

NOW_UNIX_S = 1_795_000_000.0


class Model:
    """One whose clock is set by hand; it has been at work for some seconds without a pause."""

    def __init__(self, at_work_s: float) -> None:
        self.now_s = 100.0
        self.lateness = Lateness(lambda: self.now_s, lambda: NOW_UNIX_S)
        self.now_s += 1000  # idle
        self.lateness.begin()
        self.work(at_work_s)

    def work(self, seconds: float) -> None:
        self.now_s += seconds
        self.lateness.end()
        self.now_s += 0.002
        self.lateness.begin()

    def waited_s(self, *, sent_s_ago: float, allowed_s: float) -> float | None:
        begin_by_us = round((NOW_UNIX_S - sent_s_ago + allowed_s) * 1e6)
        return self.lateness.waited_s(json.dumps({"begin_by_unix_us": begin_by_us}), round(allowed_s * 1e6))


@pytest.mark.parametrize("sent_s_ago", [48.5, 60, 204])
def test_what_a_busy_model_has_let_wait_for_too_long_is_late(sent_s_ago: float) -> None:
    assert Model(200).waited_s(sent_s_ago=sent_s_ago, allowed_s=48) == pytest.approx(sent_s_ago)


@pytest.mark.parametrize("sent_s_ago", [0, 20, 47.5])
def test_what_has_time_left_is_not(sent_s_ago: float) -> None:
    assert Model(200).waited_s(sent_s_ago=sent_s_ago, allowed_s=48) is None


@pytest.mark.parametrize(
    ("at_work_s", "sent_s_ago"),
    [(0, 50), (0, 1e6), (0, -1e6), (47, 50), (200, 206), (200, 1e6), (200, -1e6)],
    ids=["idle", "idle, hours behind", "idle, ahead", "busy for less", "sent before it was busy", "behind", "ahead"],
)
def test_a_clock_that_can_not_be_right_is_not_believed(at_work_s: float, sent_s_ago: float) -> None:
    assert Model(at_work_s).waited_s(sent_s_ago=sent_s_ago, allowed_s=48) is None


def test_a_pause_shows_that_nothing_waited() -> None:
    model = Model(200)
    assert model.waited_s(sent_s_ago=50, allowed_s=48) is not None
    model.lateness.end()
    model.now_s += 0.2
    model.lateness.begin()
    assert model.waited_s(sent_s_ago=50, allowed_s=48) is None


@pytest.mark.parametrize(
    "parameters", ["", "{}", '{"begin_by_unix_us": "soon"}', '{"begin_by_unix_us": 1.5}', '{"other": 1}']
)
def test_who_does_not_say_is_never_late(parameters: str) -> None:
    assert Model(200).lateness.waited_s(parameters, 48_000_000) is None


def test_without_a_time_allowed_nothing_is_late() -> None:
    assert Model(200).lateness.waited_s('{"begin_by_unix_us": 1}', 0) is None
