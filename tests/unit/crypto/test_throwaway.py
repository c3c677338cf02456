"""The CA for demos and tests: usable, short-lived, and gone when its object is."""

import stat
from datetime import datetime, timedelta, timezone
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import NameOID

from lfr_edge.crypto.throwaway import ThrowawayCa


def test_a_clients_certificate_names_it_and_is_the_cas(tmp_path: Path) -> None:
    ca = ThrowawayCa(tmp_path)
    certificate_file, key_file = ca.issue_client("van-1")
    authority = x509.load_pem_x509_certificate(ca.ca_file.read_bytes())
    certificate = x509.load_pem_x509_certificate(certificate_file.read_bytes())
    certificate.verify_directly_issued_by(authority)
    assert [name.value for name in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)] == ["van-1"]
    assert load_pem_private_key(key_file.read_bytes(), None).public_key() == certificate.public_key()


def test_certificates_are_valid_now_and_not_for_long(tmp_path: Path) -> None:
    certificate = x509.load_pem_x509_certificate(ThrowawayCa(tmp_path).issue_server()[0].read_bytes())
    now = datetime.now(timezone.utc)
    assert certificate.not_valid_before_utc < now < certificate.not_valid_after_utc < now + timedelta(days=2)


def test_private_keys_are_the_owners_and_the_cas_own_is_not_written(tmp_path: Path) -> None:
    ca = ThrowawayCa(tmp_path)
    written = [ca.ca_file, *ca.issue_server(), *ca.issue_client("van-1")]
    assert sorted(tmp_path.iterdir()) == sorted(written)
    keys = [path for path in written if b"PRIVATE KEY" in path.read_bytes()]
    assert len(keys) == 2
    assert {stat.S_IMODE(path.stat().st_mode) for path in keys} == {0o600}
