"""What the pages of documentation show as a configuration is one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from server import ROOT, run

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCKS = [
    (page, number, text)
    for page in PAGES
    for number, text in enumerate(
        re.findall(r"^```jsonc\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
    )
]
AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")


@pytest.mark.parametrize(
    ("page", "number", "text"), BLOCKS, ids=[f"{p.stem}-{n}" for p, n, _ in BLOCKS]
)
def test_configuration(tmp_path: Path, page: Path, number: int, text: str) -> None:
    file = tmp_path / f"{page.stem}-{number}.jsonc"
    # The one thing that is nobody's but the reader's: files that are named must be there.
    file.write_text(text.replace("/etc/wsbus/ca.pem", str(AUTHORITIES)))
    done = run("check", "-c", str(file))
    assert done.returncode == 0, f"{page.name}, block {number}: {done.stderr}"


def test_there_are_some() -> None:
    assert len([page for page, _, _ in BLOCKS if page.name == "kafka.md"]) >= 5
