"""Which tokens get in, and that none of the known ways round them do."""

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from uuid import uuid4

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from seda.people.tokens import mint_token
from seda.settings import Settings
from serving.authentication import PublishedKeys, TokenVerifier
from serving.problems import ProblemError
from tests.serving.serving_world import World, open_api

SECRET = "correct horse battery staple, thirty-two"
SYMMETRIC = "a symmetric key that got into the JWKS by mistake"
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
SUB = "7a0e1f4c-9d1b-4a52-8a33-0d9b6f0e2c11"


def verifier(**settings: Any) -> TokenVerifier:
    settings = {"jwt_secret": SECRET, **settings}
    return TokenVerifier.from_settings(Settings(_env_file=None, **settings), lambda: NOW)


def claims(**changes: Any) -> dict[str, Any]:
    at = int(NOW.timestamp())
    every = {"sub": SUB, "aud": "authenticated", "iat": at, "exp": at + 600, **changes}
    return {name: value for name, value in every.items() if value is not None}


async def refused(token: str, **settings: Any) -> ProblemError:
    with pytest.raises(ProblemError) as caught:
        await verifier(**settings).verify(token)
    assert caught.value.status == 401
    assert "WWW-Authenticate" in caught.value.headers
    return caught.value


async def test_a_minted_token_gets_in_as_its_subject() -> None:
    sub = uuid4()
    token = mint_token(
        SECRET, sub, audience="authenticated", lifetime=timedelta(minutes=5), now=NOW, issuer="me"
    )
    assert (await verifier(jwt_issuer="me").verify(token)).sub == str(sub)


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": int(NOW.timestamp()) - 61},
        {"exp": None},
        {"exp": "2099-01-01"},
        {"exp": True},
        {"nbf": int(NOW.timestamp()) + 61},
        {"iat": int(NOW.timestamp()) + 61},
        {"aud": "anon"},
        {"aud": None},
        {"sub": None},
        {"sub": "postgres"},
        {"sub": 7},
        {"sub": "{" + SUB + "}"},
        {"sub": SUB.replace("-", "")},
    ],
)
async def test_wrong_claims_are_refused(changes: dict[str, Any]) -> None:
    await refused(jwt.encode(claims(**changes), SECRET, algorithm="HS256"))


async def test_clocks_may_differ_by_a_minute() -> None:
    late = claims(exp=int(NOW.timestamp()) - 59, iat=int(NOW.timestamp()) + 59)
    assert await verifier().verify(jwt.encode(late, SECRET, algorithm="HS256"))


def _base64(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


@pytest.mark.parametrize(
    ("claim", "last_good", "first_bad"),
    [("exp", -59, -60), ("nbf", 60, 61), ("iat", 60, 61)],
)
async def test_the_minute_ends_to_the_second(claim: str, last_good: int, first_bad: int) -> None:
    at = int(NOW.timestamp())
    good = claims(**{claim: at + last_good})
    assert (await verifier().verify(jwt.encode(good, SECRET, algorithm="HS256"))).sub == SUB
    await refused(jwt.encode(claims(**{claim: at + first_bad}), SECRET, algorithm="HS256"))


@pytest.mark.parametrize("exp", [10**400, -(10**400), "soon", [1], {}, False])
async def test_times_that_no_clock_shows_are_refused(exp: Any) -> None:
    await refused(jwt.encode(claims(exp=exp), SECRET, algorithm="HS256"))


def _hand_signed(header: Any, body: Any, secret: str = SECRET) -> str:
    parts = (part if isinstance(part, bytes) else json.dumps(part).encode() for part in
             (header, body))  # fmt: skip
    signed = ".".join(_base64(part) for part in parts)
    digest = hmac.new(secret.encode(), signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{_base64(digest)}"


@pytest.mark.parametrize(
    ("header", "body"),
    [
        (b'{"alg":"HS256","x":' + b"[" * 4000 + b"]" * 1000 + b"}", {}),
        (b"[" * 5000, {}),
        ({"alg": "HS256"}, b"[" * 5000),
        ({"alg": "HS256"}, []),
        ({"alg": "HS256"}, b"\xff\xfe"),
        ({"alg": ["HS256"]}, claims()),
        ({"alg": None}, claims()),
        ({}, claims()),
        ({"alg": "HS256", "crit": ["exp"]}, claims()),
        ({"alg": "HS256", "b64": False}, claims()),
        ({"alg": "HS256", "kid": "../../etc/passwd"}, claims(exp=1)),
        ({"alg": "HS256", "kid": 7}, claims(exp=1)),
        ({"alg": "hs256"}, claims()),
        ({"alg": "nOnE"}, claims()),
        ({"alg": "HS256"}, claims(sub=SUB + "\x00")),
        ({"alg": "HS256"}, claims(aud=["anon", 7])),
    ],
)
async def test_whatever_a_token_is_made_of_it_is_401(header: Any, body: Any) -> None:
    await refused(_hand_signed(header, body))


async def test_a_token_without_an_end_is_not_even_parsed() -> None:
    longest = jwt.encode(claims(pad="x" * 8000), SECRET, algorithm="HS256")
    assert "too long" in (await refused(longest)).detail


async def test_an_issuer_is_required_where_one_is_configured() -> None:
    token = jwt.encode(claims(iss="https://elsewhere"), SECRET, algorithm="HS256")
    await refused(token, jwt_issuer="https://seda.example/auth/v1")
    await refused(jwt.encode(claims(), SECRET, algorithm="HS256"), jwt_issuer="https://x")
    assert await verifier(jwt_issuer="https://elsewhere").verify(token)


async def test_the_subject_is_canonical() -> None:
    token = jwt.encode(claims(sub=SUB.upper()), SECRET, algorithm="HS256")
    assert (await verifier().verify(token)).sub == SUB


async def test_the_header_does_not_choose_the_algorithm() -> None:
    await refused(jwt.encode(claims(), None, algorithm="none"))
    await refused(jwt.encode(claims(), SECRET * 2, algorithm="HS512"))
    await refused(jwt.encode(claims(), "another secret of more than 32 bytes", algorithm="HS256"))
    good = jwt.encode(claims(), SECRET, algorithm="HS256")
    header, body, signature = good.split(".")
    for bad in ("", ".", "a.b.c", f"{header}.{body}.", f"{header}.{body}x.{signature}", "é.é.é"):
        await refused(bad)


class _Jwks:
    """A JWKS address, which can be asked how often it was read."""

    def __init__(self) -> None:
        self.elliptic = ec.generate_private_key(ec.SECP256R1())
        self.rsa = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.reads = 0
        self.keys = [
            jwt.algorithms.ECAlgorithm.to_jwk(self.elliptic.public_key(), as_dict=True)
            | {"kid": "ec", "alg": "ES256", "use": "sig"},
            jwt.algorithms.RSAAlgorithm.to_jwk(self.rsa.public_key(), as_dict=True)
            | {"kid": "rsa", "alg": "RS256", "use": "sig"},
            {
                "kty": "oct",
                "kid": "oct",
                "k": _base64(SYMMETRIC.encode()),
                "alg": "HS256",
                "use": "sig",
            },
        ]
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                owner.reads += 1
                self.send_response(200)
                self.end_headers()
                self.wfile.write(json.dumps({"keys": owner.keys}).encode())

            def log_message(self, *_: Any) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/jwks.json"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def jwks() -> Iterator[_Jwks]:
    jwks = _Jwks()
    yield jwks
    jwks.server.shutdown()
    jwks.server.server_close()


async def test_published_keys_verify_es256_and_rs256(jwks: _Jwks) -> None:
    checker = verifier(jwks_url=jwks.url)
    await checker.keys.prefetch()
    for key, algorithm, kid in ((jwks.elliptic, "ES256", "ec"), (jwks.rsa, "RS256", "rsa")):
        token = jwt.encode(claims(), key, algorithm=algorithm, headers={"kid": kid})
        assert (await checker.verify(token)).sub == SUB
    assert jwks.reads == 1


async def test_a_public_key_is_no_hmac_secret(jwks: _Jwks) -> None:
    public = jwks.rsa.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )

    parts = [{"alg": "HS256", "kid": "rsa"}, claims()]
    signed = ".".join(_base64(json.dumps(part).encode()) for part in parts)
    digest = hmac.new(public, signed.encode(), hashlib.sha256).digest()
    await refused(f"{signed}.{_base64(digest)}", jwks_url=jwks.url)
    # A symmetric key in the JWKS, and the shared secret beside it, sign nothing either.
    for secret, kid in ((SYMMETRIC, "oct"), (SECRET, "rsa"), (SECRET, "oct")):
        token = jwt.encode(claims(), secret, algorithm="HS256", headers={"kid": kid})
        await refused(token, jwks_url=jwks.url)
    # A key under another key's name, and another algorithm for a good key.
    await refused(
        jwt.encode(claims(), jwks.elliptic, algorithm="ES256", headers={"kid": "rsa"}),
        jwks_url=jwks.url,
    )
    await refused(
        jwt.encode(claims(), jwks.rsa, algorithm="PS256", headers={"kid": "rsa"}),
        jwks_url=jwks.url,
    )


@pytest.mark.parametrize(
    "kid", [None, "", "EC", "ec\x00", "ec' or 1=1 --", "x" * 4000, 7, ["ec"], {"ec": 1}]
)
async def test_a_key_is_found_by_its_exact_name_only(jwks: _Jwks, kid: Any) -> None:
    header = {"alg": "ES256"} if kid is None else {"alg": "ES256", "kid": kid}
    parts = ".".join(_base64(json.dumps(part).encode()) for part in (header, claims()))
    algorithm = jwt.algorithms.ECAlgorithm(jwt.algorithms.ECAlgorithm.SHA256)
    signature = algorithm.sign(parts.encode(), jwks.elliptic)
    await refused(f"{parts}.{_base64(signature)}", jwks_url=jwks.url)


async def test_a_tokens_own_key_or_address_is_ignored(jwks: _Jwks) -> None:
    stranger = ec.generate_private_key(ec.SECP256R1())
    own = jwt.algorithms.ECAlgorithm.to_jwk(stranger.public_key(), as_dict=True)
    for header in ({"jwk": own}, {"jku": jwks.url}, {"x5u": jwks.url}):
        token = jwt.encode(claims(), stranger, algorithm="ES256", headers=header | {"kid": "ec"})
        await refused(token, jwks_url=jwks.url)


async def test_a_withdrawn_key_verifies_nothing_after_its_lifespan(jwks: _Jwks) -> None:
    now = NOW
    settings = Settings(_env_file=None, jwks_url=jwks.url)
    checker = TokenVerifier.from_settings(settings, lambda: now)
    token = jwt.encode(claims(), jwks.elliptic, algorithm="ES256", headers={"kid": "ec"})
    assert await checker.verify(token)
    del jwks.keys[0]
    now = NOW + timedelta(seconds=301)
    assert await checker.verify(token)  # nobody waits for the look that this one begins
    assert isinstance(checker.keys, PublishedKeys)
    await checker.keys.settled()
    with pytest.raises(ProblemError):
        await checker.verify(token)
    assert jwks.reads == 2


async def test_unknown_keys_do_not_hammer_the_address_and_old_keys_outlive_it(
    jwks: _Jwks,
) -> None:
    now = NOW
    settings = Settings(_env_file=None, jwks_url=jwks.url)
    checker = TokenVerifier.from_settings(settings, lambda: now)
    strange = jwt.encode(claims(), jwks.elliptic, algorithm="ES256", headers={"kid": "new"})
    for _ in range(5):
        with pytest.raises(ProblemError):
            await checker.verify(strange)
    assert jwks.reads == 1
    jwks.keys[0]["kid"] = "new"
    now = NOW + timedelta(seconds=31)
    assert await checker.verify(strange)
    assert jwks.reads == 2
    jwks.server.server_close()
    now = NOW + timedelta(minutes=9)
    assert await checker.verify(strange)


async def test_without_any_key_the_answer_is_503_not_401() -> None:
    checker = verifier(jwks_url="http://127.0.0.1:9/jwks.json")
    await checker.keys.prefetch()
    token = jwt.encode(claims(), SECRET, algorithm="HS256", headers={"kid": "ec"})
    with pytest.raises(ProblemError) as caught:
        await checker.verify(token)
    assert caught.value.status == 503


async def test_the_api_challenges_who_has_no_good_token(world: World) -> None:
    async with open_api(world) as api:
        missing = await api.client.get("/feed")
        assert missing.status_code == 401
        assert missing.headers["www-authenticate"] == "Bearer"
        for value in ("Bearer x", "Basic eDp5", "Bearer"):
            response = await api.client.get("/feed", headers={"Authorization": value})
            assert response.status_code == 401
            assert response.headers["content-type"] == "application/problem+json"
            assert response.headers["www-authenticate"].startswith("Bearer")
