"""What every test shares: no network, and a way to make a skipped test a failure.

``pytest --fail-on-skip`` turns each skip, of a test or of a whole file, into a failure with
its reason, so that the continuous check cannot pass by not looking. An expected failure
(xfail) is not a skip.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from typing import TypeVar

import pytest

import bot  # noqa: F401  # before torch, as in the program: it says how OpenMP is to wait

Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)

# Before anything imports transformers, which reads them once.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_OFFLINE", "1")

pytest_plugins = ["pytester"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fail-on-skip", action="store_true", help="a skipped test is a failure")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    return _refuse_skip(report, item.config)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    return _refuse_skip(report, collector.config)


def _refuse_skip(report: Report, config: pytest.Config) -> Report:
    refused = config.getoption("--fail-on-skip")
    if refused and report.outcome == "skipped" and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        where = report.longrepr
        report.longrepr = f"{where[2] if isinstance(where, tuple) else where} (--fail-on-skip)"
    return report
