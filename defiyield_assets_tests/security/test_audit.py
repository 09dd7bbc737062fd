"""The audit of pinned packages (.ci/audit) over a pip-audit that answers as told: findings, silence, accepted ones."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
VULNERABLE = {
    "dependencies": [
        {"name": "good", "version": "1.0", "vulns": []},
        {
            "name": "bad",
            "version": "2.0",
            "vulns": [{"id": "PYSEC-1", "aliases": ["GHSA-1"], "fix_versions": ["2.1"], "description": "x"}],
        },
    ]
}
CLEAN = {"dependencies": [{"name": "good", "version": "1.0", "vulns": []}]}


def audit(folder: Path, script: str, *, accepted: str = "", seconds: float = 60) -> tuple[int, str]:
    """Exit code and words of the audit; `script` is what pip-audit does."""
    program = folder / "pip-audit"
    program.write_text(f"#!{sys.executable}\nimport sys, time\n{script}\n", encoding="utf-8")
    program.chmod(0o755)
    (folder / "accepted.toml").write_text(accepted, encoding="utf-8")
    options = ["--program", str(program), "--accepted", str(folder / "accepted.toml"), "--seconds", str(seconds)]
    command = [sys.executable, str(ROOT / ".ci" / "audit"), *options, "--today", "2025-06-03"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    return ended.returncode, ended.stdout + ended.stderr


def says(report: object, code: int) -> str:
    return f"print({json.dumps(json.dumps(report))}); raise SystemExit({code})"


def entry(until: str) -> str:
    return f'[[accepted]]\nid = "GHSA-1"\npackage = "bad"\nreason = "never called"\nuntil = {until}\n'


def test_no_finding_is_well(tmp_path: Path) -> None:
    code, said = audit(tmp_path, says(CLEAN, 0))
    assert (code, "no open finding" in said) == (0, True)


def test_a_finding_fails_and_names_package_advisory_and_remedy(tmp_path: Path) -> None:
    code, said = audit(tmp_path, says(VULNERABLE, 1))
    assert code == 1
    assert "VULNERABLE: bad 2.0: PYSEC-1, GHSA-1; fixed in 2.1" in said


def test_a_database_out_of_reach_is_one_line_of_warning(tmp_path: Path) -> None:
    unreached = "sys.stderr.write('Traceback ...\\nConnectionError: Failed to resolve host'); raise SystemExit(1)"
    code, said = audit(tmp_path, unreached)
    assert code == 0
    assert said.startswith("AUDIT: warning: the database of vulnerabilities cannot be reached")
    assert len(said.splitlines()) == 1
    code, said = audit(tmp_path, "time.sleep(60)", seconds=0.5)
    assert (code, "no answer in 0.5 seconds" in said) == (0, True)


def test_an_audit_that_cannot_run_is_no_clean_one(tmp_path: Path) -> None:
    code, said = audit(tmp_path, "sys.stderr.write('error: unrecognized arguments'); raise SystemExit(2)")
    assert (code, "unrecognized arguments" in said) == (2, True)


def test_accepted_findings_are_told_and_end_on_their_day(tmp_path: Path) -> None:
    code, said = audit(tmp_path, says(VULNERABLE, 1), accepted=entry("2025-06-03"))
    assert (code, "accepted until 2025-06-03: bad 2.0" in said, "never called" in said) == (0, True, True)
    code, said = audit(tmp_path, says(VULNERABLE, 1), accepted=entry("2025-06-02"))
    assert (code, "VULNERABLE" in said, "it was accepted until 2025-06-02" in said) == (1, True, True)
    code, said = audit(tmp_path, says(CLEAN, 0), accepted=entry("2025-06-03"))
    assert (code, "accepted, but not found" in said) == (0, True)


@pytest.mark.parametrize("left_out", ["id", "package", "reason", "until"])
def test_an_acceptance_without_reason_or_end_is_refused(left_out: str, tmp_path: Path) -> None:
    lines = [line for line in entry("2025-06-03").splitlines() if not line.startswith(left_out)]
    code, said = audit(tmp_path, says(CLEAN, 0), accepted="\n".join(lines))
    assert (code, "entry 1 has to have" in said) == (2, True)


def test_the_list_of_accepted_advisories_can_be_read() -> None:
    code = f"import runpy; from pathlib import Path; m = runpy.run_path('{ROOT}/.ci/audit', run_name='audit'); "
    code += f"m['accepted_in'](Path('{ROOT}/.ci/audit-accepted.toml'))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
