"""HTTPS: certificates are checked, and a handshake that fails has sent nothing."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import ssl
import sys
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.steps.calls import bench

pytestmark = pytest.mark.anyio

CLIENT = """
import asyncio, json, sys
from tests.steps.calls import bench

async def main(url):
    async with bench() as b:
        outcomes = [await b.attempt(url, "POST", text="x") for _ in range(2)]
        print(json.dumps([type(outcome).__name__ for outcome in outcomes]))

asyncio.run(main(sys.argv[1]))
"""


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """One file with a certificate for 127.0.0.1 that vouches for itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path / "certificate.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(signed.public_bytes(serialization.Encoding.PEM) + private)
    return file


@contextlib.asynccontextmanager
async def listening(certificate: Path | None, greeting: bytes | None = None) -> AsyncGenerator[tuple[str, list[str]]]:
    """An HTTPS URL, and what was asked there; without a certificate a server that speaks no TLS at all."""
    asked: list[str] = []
    connections: list[object] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            if greeting is not None:
                await reader.read(1)
                writer.write(greeting)
            while greeting is None:
                asked.append((await reader.readuntil(b"\r\n\r\nx")).decode() + str(len(connections)))
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    context = None
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with server:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/charges", asked


async def test_a_certificate_that_nobody_vouches_for_is_refused_before_anything_is_sent(certificate: Path) -> None:
    async with bench() as b, listening(certificate) as (url, asked):
        error = await b.failed(url, "POST", text="x")
    assert asked == []
    assert (error.code, error.in_doubt, error.retryable) == ("connect", False, True)
    assert "certificate" in error.message.lower()


async def test_a_server_that_speaks_no_tls_is_definite() -> None:
    async with bench() as b, listening(None, b"HTTP/1.1 400 Bad Request\r\n\r\n") as (url, _):
        error = await b.failed(url, "POST")
    assert (error.code, error.in_doubt, error.retryable) == ("connect", False, True)


async def test_a_handshake_that_hangs_is_definite() -> None:
    async with bench() as b:
        error = await b.failed(b.service.url.replace("http://", "https://") + "/ok", "POST", connect_timeout=0.2)
        assert b.service.calls == []
    assert (error.code, error.in_doubt, error.retryable) == ("connect", False, True)


async def test_https_works_with_the_systems_authorities_and_keeps_its_connections(certificate: Path) -> None:
    """In a process of its own, since authorities are read once, when it starts."""
    async with listening(certificate) as (url, asked):
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            CLIENT,
            url,
            env={**os.environ, "SSL_CERT_FILE": str(certificate)},
            stdout=asyncio.subprocess.PIPE,
        )
        said, _ = await process.communicate()
    assert json.loads(said) == ["Completed", "Completed"]
    assert [line[-1] for line in asked] == ["1", "1"], "over one connection"
