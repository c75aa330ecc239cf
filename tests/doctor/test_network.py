"""Names and certificates as they are found: a real TLS server on loopback, certificates made here, a name that is none."""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from syncd.clock import SystemClock
from syncd.doctor import Verdict, network
from syncd.doctor.facts import HostFact
from syncd.doctor.probes_machine import certificate

NOW = datetime.now(UTC)  # certificates are judged by OpenSSL too, which has no clock of ours
HOST = "127.0.0.1"


USAGES = (
    "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "key_cert_sign",
    "crl_sign", "encipher_only", "decipher_only",
)  # fmt: skip


@dataclass
class Authority:
    """A certificate authority of this test's own."""

    folder: Path

    def __post_init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a test's authority")])
        self.own = self._made(self.name, self.key, NOW + timedelta(days=365), authority=True)
        self.file = self.folder / "authority.pem"
        self.file.write_bytes(self.own.public_bytes(serialization.Encoding.PEM))

    def trusted(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.file))

    def server(self, ends: datetime, *, host: str = HOST) -> ssl.SSLContext:
        """What a server shows whose certificate ends then."""
        key = ec.generate_private_key(ec.SECP256R1())
        shown = self._made(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)]), key, ends, host=host)
        path = self.folder / f"{ends:%Y%m%d%H%M%S}-{host}.pem"
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        path.write_bytes(private + shown.public_bytes(serialization.Encoding.PEM))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context

    def _made(
        self,
        name: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        ends: datetime,
        *,
        host: str = "",
        authority: bool = False,
    ) -> x509.Certificate:
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW - timedelta(days=400))
            .not_valid_after(ends)
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            # From Python 3.13 on certificates are judged strictly by RFC 5280.
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
        )
        if authority:
            may = dict.fromkeys(USAGES, False) | {"key_cert_sign": True, "crl_sign": True}
            builder = builder.add_extension(x509.KeyUsage(**may), critical=True)
        if host:
            names: list[x509.GeneralName] = [x509.DNSName(host)]
            if host[0].isdigit():
                names = [x509.IPAddress(ipaddress.ip_address(host))]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self.key, hashes.SHA256())


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@asynccontextmanager
async def serving(context: ssl.SSLContext | None) -> AsyncIterator[int]:
    """A server at a free port; without a context one that does not speak TLS."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"what do you want?\n")
        writer.close()

    server = await asyncio.start_server(answer, HOST, 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def looked_at(port: int, authority: Authority) -> HostFact:
    hosts = network.named([("acme", f"https://{HOST}:{port}/v1")])
    [found] = (await network.looked_at(hosts, SystemClock(), trust=authority.trusted)).values()
    return found


@pytest.mark.parametrize(
    ("days", "verdict", "words"),
    [
        (90.0, Verdict.PASS, "trusted, 90 days left"),
        (20.0, Verdict.WARN, "20 days left"),
        (2.0, Verdict.FAIL, "2.0 days left"),
        (-5.0, Verdict.FAIL, "expired 5 days ago"),
    ],
    ids=["good", "soon", "very soon", "expired"],
)
async def test_a_certificate_tells_how_long_it_holds(
    authority: Authority, days: float, verdict: Verdict, words: str
) -> None:
    async with serving(authority.server(NOW + timedelta(days=days, minutes=10))) as port:
        answer = certificate(await looked_at(port, authority))
    assert (answer.verdict, words in answer.detail) == (verdict, True), answer


async def test_one_of_an_unknown_authority_is_not_trusted_and_its_dates_are_read_all_the_same(
    authority: Authority, tmp_path: Path
) -> None:
    async with serving(Authority(tmp_path).server(NOW + timedelta(days=90))) as port:
        found = await looked_at(port, authority)
    assert found.certificate is not None and not found.certificate.trusted
    assert found.certificate.days_left == pytest.approx(90, abs=1)
    assert certificate(found).verdict is Verdict.FAIL


async def test_one_for_another_name_is_not_trusted(authority: Authority) -> None:
    async with serving(authority.server(NOW + timedelta(days=90), host="other.example")) as port:
        answer = certificate(await looked_at(port, authority))
    assert answer.verdict is Verdict.FAIL
    assert "not trusted" in answer.detail


async def test_a_server_without_tls_and_a_closed_port_are_told_apart_from_a_bad_certificate(
    authority: Authority,
) -> None:
    async with serving(None) as port:
        plain = certificate(await looked_at(port, authority))
    closed = certificate(await looked_at(port, authority))
    assert {plain.verdict, closed.verdict} == {Verdict.LATER}
    assert plain.do.startswith("openssl s_client")


async def test_a_name_that_is_none_is_said_and_nothing_is_connected_to() -> None:
    hosts = network.named([("acme", "https://api.acme.invalid/v1"), ("other", "https://api.acme.invalid/v2")])
    [found] = (await network.looked_at(hosts, SystemClock())).values()
    assert found.why == ("acme", "other")
    assert "not found" in found.resolve_error
    assert found.certificate is None


def test_only_hosts_that_are_named_are_looked_at_each_once() -> None:
    found = network.named(
        [("a", "https://x.example/v1"), ("b", "https://x.example/v2"), ("c", "http://y.example:8080")]
    )
    assert {key: (one.why, one.tls) for key, one in found.items()} == {
        "x.example:443": (("a", "b"), True),
        "y.example:8080": (("c",), False),
    }


async def test_hosts_that_hang_are_waited_for_at_the_same_time(authority: Authority, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(network, "CONNECT_SECONDS", 0.3)
    asked: list[int] = []

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(1)
        await reader.read()  # its greeting; nothing is said to it
        writer.close()

    server = await asyncio.start_server(silent, HOST, 0)
    try:
        port = server.sockets[0].getsockname()[1]
        hosts = {str(number): HostFact(HOST, port, (f"a{number}",), True) for number in range(21)}
        clock = SystemClock()
        began = clock.monotonic()
        found = await network.looked_at(hosts, clock, trust=authority.trusted)
        took = clock.monotonic() - began
    finally:
        server.close()
    assert [one.connect_error for one in found.values()] == ["no answer within 0.3 s"] * 21
    assert len(asked) == 21
    assert took < 21 * 0.3 / 2
