"""deploy/compose: valid by the Compose specification, locked, and with no files that are not there."""

import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

COMPOSE = Path(__file__).parents[2] / "deploy/compose"
FILES = ("compose.yaml", "compose.gpu.yaml")


@pytest.fixture(scope="module")
def services() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = yaml.safe_load((COMPOSE / "compose.yaml").read_text())["services"]
    return found


def test_the_files_are_valid_by_the_specification_s_own_schema() -> None:
    command = [Path(sys.executable).with_name("check-jsonschema"), "--builtin-schema", "vendor.compose-spec"]
    finished = subprocess.run(
        [*command, *(COMPOSE / name for name in FILES)], capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stdout


def test_every_container_is_locked_and_only_the_proxy_is_for_others(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        published = service.get("ports", [])
        if name in ("triton", "probe"):
            assert published == []
            assert service["networks"] == ["inside"]
        elif name == "proxy":
            assert [port.split(":-")[1].partition("}")[0] for port in published] == ["127.0.0.1"]
        else:
            assert all(port.startswith("127.0.0.1:") for port in published)


def test_what_is_mounted_from_the_checkout_is_there_and_read_only(services: dict[str, dict[str, Any]]) -> None:
    for service in services.values():
        for volume in service.get("volumes", []):
            source, target, *mode = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", volume).split(":")
            if source.startswith("."):
                assert mode == ["ro"]
                assert source.startswith("./secrets") or (COMPOSE / source).exists(), volume
            assert target.startswith("/")


def test_prepare_makes_a_certificate_a_key_and_a_password_once_and_closes_them_to_others(tmp_path: Path) -> None:
    secrets = tmp_path / "secrets"

    def prepared() -> dict[str, bytes]:
        environment = {"DFSERVE_SECRETS": str(secrets), "PATH": "/usr/bin:/bin"}
        command = [COMPOSE / "prepare.sh", "triton.example", "localhost"]
        subprocess.run(command, env=environment, check=True, capture_output=True)
        return {path.name: path.read_bytes() for path in secrets.rglob("*") if path.is_file()}

    found = prepared()
    assert prepared() == found
    assert set(found) == {"server.pem", "server.key", "key", "keys.conf", "grafana_password"}
    key = found["key"].decode().strip()
    assert found["keys.conf"].decode() == f'"{key}" someone;\n'
    assert len(key) == 44
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o700
    from cryptography import x509

    certificate = x509.load_pem_x509_certificate(found["server.pem"])
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["triton.example", "localhost"]


def test_prepare_says_why_there_is_no_certificate(tmp_path: Path) -> None:
    environment = {"DFSERVE_SECRETS": str(tmp_path), "PATH": "/usr/bin:/bin", "OPENSSL_CONF": str(tmp_path / "none")}
    command = [COMPOSE / "prepare.sh", "triton.example"]
    finished = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
    assert finished.returncode == 1
    assert finished.stderr.startswith("prepare.sh: openssl made no certificate: ")
    assert str(tmp_path / "none") in finished.stderr
