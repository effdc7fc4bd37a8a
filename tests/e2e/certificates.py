"""Certificates for tests, made by openssl: an authority, and what it signs."""

from __future__ import annotations

import subprocess
from pathlib import Path

# Curves, because their keys are made at once.
KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]


def openssl(*args: str | Path) -> None:
    subprocess.run(["openssl", *map(str, args)], check=True, capture_output=True, timeout=60)


class Authority:
    """Its certificate is `ca`, a file in `folder`; so are all the others."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.ca = folder / f"{name}.pem"
        self.key = folder / f"{name}.key"
        openssl(
            "req", "-x509", *KEY, "-days", "30", "-subj", f"/CN={name}",
            "-keyout", self.key, "-out", self.ca,
        )  # fmt: skip

    def sign(self, name: str, alternatives: str = "") -> tuple[Path, Path]:
        """Key and certificate for /CN=name and, for instance, "DNS:localhost,IP:127.0.0.1"."""
        key, asked, signed = (self.folder / f"{name}.{end}" for end in ("key", "csr", "pem"))
        openssl("req", *KEY, "-subj", f"/CN={name}", "-keyout", key, "-out", asked)
        more: list[str | Path] = []
        if alternatives:
            extra = self.folder / f"{name}.ext"
            extra.write_text(f"subjectAltName={alternatives}\n")
            more = ["-extfile", extra]
        openssl(
            "x509", "-req", "-in", asked, "-CA", self.ca, "-CAkey", self.key,
            "-CAcreateserial", "-days", "30", "-out", signed, *more,
        )  # fmt: skip
        return key, signed

    def store(self, name: str, alternatives: str = "") -> Path:
        """Key and certificates in one file, as Kafka takes them."""
        key, signed = self.sign(name, alternatives)
        both = self.folder / f"{name}.store"
        both.write_text(key.read_text() + signed.read_text() + self.ca.read_text())
        return both
