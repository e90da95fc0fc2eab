"""Where DFSERVE_NO_SKIPS is set, as in `.ci/run`, a test that skips has failed: there everything can run."""

import os
from collections.abc import Generator

import pytest

ACTIVE = bool(os.environ.get("DFSERVE_NO_SKIPS"))


def _forbid(report: pytest.TestReport | pytest.CollectReport) -> None:
    if ACTIVE and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"{report.nodeid}: nothing may skip here (DFSERVE_NO_SKIPS). {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A skipped test fails, with its reason."""
    report = yield
    _forbid(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """So does a file that skips as a whole."""
    report = yield
    _forbid(report)
    return report
