"""An authorization server for tests: keys of each kind, and tokens signed by them, honestly or not."""

from __future__ import annotations

import base64
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from mcp_workflows.access.claims import Reading
from tests.services.scripted import Answer, Scripted

NOW = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)
AUDIENCE = "https://workflows.example/mcp"
_HOW: dict[str, Any] = {"RS256": RSAAlgorithm, "ES256": ECAlgorithm, "EdDSA": OKPAlgorithm}


def key(algorithm: str, number: int = 0) -> Any:
    """A private key; ``number`` tells one from another."""
    return _made(algorithm, number)


@cache
def _made(algorithm: str, number: int) -> Any:
    match algorithm:
        case "RS256":
            return rsa.generate_private_key(public_exponent=65537, key_size=2048)
        case "ES256":
            return ec.generate_private_key(ec.SECP256R1())
        case _:
            return ed25519.Ed25519PrivateKey.generate()


def jwk(algorithm: str, kid: str, number: int = 0, **more: Any) -> dict[str, Any]:
    public = json.loads(_HOW[algorithm].to_jwk(key(algorithm, number).public_key()))
    return {**public, "kid": kid, "use": "sig", "alg": algorithm, **more}


def part(value: Any) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


@dataclass
class Issuer:
    """``service`` publishes ``keys``, unless a test says otherwise."""

    service: Scripted
    keys: list[dict[str, Any]] = field(
        default_factory=lambda: [jwk("RS256", "r"), jwk("ES256", "e"), jwk("EdDSA", "d")]
    )

    def __post_init__(self) -> None:
        self.publish()

    @property
    def name(self) -> str:
        return self.service.url

    @property
    def reading(self) -> Reading:
        return Reading(AUDIENCE, self.name)

    def publish(self) -> None:
        told = {"issuer": self.name, "jwks_uri": f"{self.name}/keys"}
        self.service.on("/.well-known/oauth-authorization-server", Answer(body=told))
        self.service.on("/keys", Answer(body={"keys": self.keys}))

    def gives_tokens(self, token: Callable[[bytes], Awaitable[Answer]]) -> None:
        """To any client that registers, as ``token`` answers what is posted for one."""
        names = ("authorization", "token", "registration")
        endpoints = {f"{name}_endpoint": f"{self.name}/{name}" for name in names}
        told = {"issuer": self.name, "jwks_uri": f"{self.name}/keys", "response_types_supported": ["code"], **endpoints}
        self.service.on("/.well-known/oauth-authorization-server", Answer(body=told))
        self.service.on("/registration", Answer(201, {"client_id": "c", "redirect_uris": ["http://127.0.0.1:1/back"]}))
        self.service.act("/token", token)

    def claims(self, now: datetime = NOW, **more: Any) -> dict[str, Any]:
        told = {
            "iss": self.name, "aud": AUDIENCE, "sub": "anna", "exp": int((now + timedelta(hours=1)).timestamp()),
            "scope": "openid workflows:run",
        } | more  # fmt: skip
        return {name: value for name, value in told.items() if value is not None}

    def token(self, algorithm: str = "RS256", kid: str | None = None, number: int = 0, **claims: Any) -> str:
        named = {"RS256": "r", "ES256": "e", "EdDSA": "d"}[algorithm] if kid is None else kid
        return jwt.encode(self.claims(**claims), key(algorithm, number), algorithm, headers={"kid": named})
