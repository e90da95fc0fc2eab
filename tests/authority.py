"""Certificates, made for a test."""

from pathlib import Path

import trustme


class Authority:
    """One that vouches for names: its own certificate is a file, and so is what it has issued."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.folder, self._ca = folder, trustme.CA()
        self.file = folder / "ca.pem"
        self._ca.cert_pem.write_to_path(self.file)

    def issue(self, name: str, **how: object) -> tuple[Path, Path]:
        """Certificate and key made out to `name`; `how` is trustme's."""
        issued = self._ca.issue_cert(name, **how)
        cert, key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        cert.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(key)
        return cert, key
