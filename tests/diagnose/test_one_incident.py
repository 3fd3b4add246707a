"""Files about one incident give one finding, with the evidence of all."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.diagnoses import file_findings

RECORDINGS = Path(__file__).parent / "recordings"


@pytest.mark.parametrize(
    ("name", "rule", "subject"),
    [
        ("state-change-lock", "STATE_CHANGE_LOCK", "web domain_block_job_abort"),
        ("state-change-lock-statistics", "STATE_CHANGE_LOCK", "web domain_block_stats_flags"),
        ("blocked-object", "BLOCKED_OBJECT", "web"),
    ],
)
def test_capture_trace_and_log_give_one_finding(name: str, rule: str, subject: str) -> None:
    files = [path for path in sorted((RECORDINGS / name).iterdir()) if path.suffix != ".toml"]
    assert len(files) == 3
    (finding,) = file_findings(*files, rules={rule})
    assert {each.file for each in finding.evidence} == {str(file) for file in files}
    assert finding.subject == subject
    assert "domain web" in finding.summary


def test_trace_of_both_ends_counts_calls_once_next_to_other_files() -> None:
    files = [path for path in sorted((RECORDINGS / "slow-calls").iterdir()) if path.suffix != ".toml"]
    (finding,) = file_findings(*files, rules={"SLOW_CALLS"})
    assert len(finding.evidence) == len(files)
    assert {each.text.partition(" slow calls")[0] for each in finding.evidence} == {"3"}
    assert all("the median of 60 is" in each.text for each in finding.evidence)
