"""Certificates and authorities with faults that trustme does not make."""

import datetime as dt
import ssl
import tempfile
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

NOW = dt.datetime.now(dt.UTC).replace(microsecond=0)


@dataclass(frozen=True)
class Pair:
    """A certificate and its key."""

    name: x509.Name
    key: ec.EllipticCurvePrivateKey
    pem: bytes

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def tls(self, *chain: "Pair") -> ssl.SSLContext:
        """A server's TLS that sends this certificate and these."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
        self.configure_cert(context, *chain)
        return context

    def configure_cert(self, context: ssl.SSLContext, *chain: "Pair") -> None:
        """Send this certificate and these."""
        with tempfile.NamedTemporaryFile() as file:
            file.write(b"".join((self.key_pem, self.pem, *(pair.pem for pair in chain))))
            file.flush()
            context.load_cert_chain(file.name)


def issue(
    common_name: str,
    issuer: Pair | None = None,
    *names: str,
    authority: bool = False,
    critical: bool = True,
    days: float = 90,
    key: object = None,
) -> Pair:
    """A certificate for these names, or of an authority; without an issuer it is self-signed."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    since, until = NOW - dt.timedelta(1000), NOW + dt.timedelta(days)
    issuer_name = issuer.name if issuer else subject
    builder = x509.CertificateBuilder(issuer_name, subject, key.public_key(), x509.random_serial_number(), since, until)
    if authority:
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(list(map(x509.DNSName, names))), critical=False)
    made = builder.sign(issuer.key if issuer else key, hashes.SHA256())
    return Pair(subject, key, made.public_bytes(Encoding.PEM))
