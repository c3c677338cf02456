"""A certificate authority for demos and tests: made in a moment, forgotten after two days, trusted by nobody else.

A force runs its own CA; nothing here is meant for it.
"""

import ipaddress
from datetime import datetime, timedelta, timezone
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from lfr_edge.crypto import key_files

# Back-dated against clocks that differ, short enough that a forgotten demo cannot be used for long.
_VALID_FROM = timedelta(days=-1)
_VALID_FOR = timedelta(days=2)


class ThrowawayCa:
    """Issues certificates into one directory, which must exist. The CA's own key never leaves this object."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._key = generate_private_key(SECP256R1())
        self._name = _name("lfr-edge throw-away CA")
        usage = _usage(key_cert_sign=True)
        builder = _builder(self._name, self._name, self._key)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        certificate = builder.add_extension(usage, critical=True).sign(self._key, SHA256())
        self._identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        self.ca_file = directory / "ca.pem"
        key_files.write_new(self.ca_file, certificate.public_bytes(Encoding.PEM), mode=key_files.PUBLIC)

    def issue_server(self) -> tuple[Path, Path]:
        """Certificate and key files of a server on this machine's loopback."""
        names = x509.SubjectAlternativeName(
            [x509.DNSName("localhost"), x509.IPAddress(ipaddress.IPv4Address("127.0.0.1"))]
        )
        return self._issue("localhost", ExtendedKeyUsageOID.SERVER_AUTH, names)

    def issue_client(self, client_id: str) -> tuple[Path, Path]:
        """Certificate and key files of a client; its common name is the client id."""
        names = x509.SubjectAlternativeName([x509.DNSName(client_id)])
        return self._issue(client_id, ExtendedKeyUsageOID.CLIENT_AUTH, names)

    def _issue(self, name: str, role: x509.ObjectIdentifier, names: x509.SubjectAlternativeName) -> tuple[Path, Path]:
        """Make a key, certify it, write both."""
        key = generate_private_key(SECP256R1())
        certificate = (
            _builder(_name(name), self._name, key)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(digital_signature=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage([role]), critical=False)
            .add_extension(names, critical=False)
            .add_extension(self._identifier, critical=False)
            .sign(self._key, SHA256())
        )
        certificate_file, key_file = self._directory / f"{name}.pem", self._directory / f"{name}.key"
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        key_files.write_new(key_file, pem, mode=key_files.PRIVATE)
        key_files.write_new(certificate_file, certificate.public_bytes(Encoding.PEM), mode=key_files.PUBLIC)
        return certificate_file, key_file


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _builder(subject: x509.Name, issuer: x509.Name, key: EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    """What every certificate here has."""
    start = datetime.now(timezone.utc) + _VALID_FROM
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + _VALID_FOR)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _usage(*, digital_signature: bool = False, key_cert_sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=key_cert_sign,
        crl_sign=key_cert_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
