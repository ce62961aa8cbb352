"""Which tokens are believed: every one of the numbered obligations, and the attacks that they are for."""

from __future__ import annotations

import base64
import json
from datetime import timedelta
from typing import Any

import pytest
from joserfc import jws
from joserfc.errors import SecurityWarning

from tests.calling import refusal
from tests.issuer import key_set, new_key, sign
from tests.support import NOON
from turnlock.errors import ExpiredIdentityToken, InvalidIdentityTokenException
from turnlock.iam.providers.web_tokens import ALGORITHMS, Claims, believe, issuer_of, key_id_of, read_keys

ISSUER = "https://token.example.com/main"
NOW = int(NOON.timestamp())
KEY = new_key()
CURVES = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}


def claims(**more: Any) -> dict[str, Any]:
    given = {"iss": ISSUER, "sub": "repo:main", "aud": "turnlock", "iat": NOW, "exp": NOW + 600, **more}
    return {name: value for name, value in given.items() if value is not None}


def ask(token: str, keys: str | None = None, *, clients: tuple[str, ...] = ("turnlock",)) -> Claims | None:
    return believe(token, issuer=ISSUER, client_ids=clients, keys=keys or key_set(KEY), now=NOON)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_each_algorithm_of_the_list_is_believed(algorithm: str) -> None:
    key = new_key(CURVES[algorithm]) if algorithm in CURVES else KEY
    found = ask(sign(key, claims(), algorithm=algorithm), key_set(key))
    assert found is not None
    assert (found.issuer, found.subject, found.audiences) == (ISSUER, "repo:main", ("turnlock",))


def unsigned(header: dict[str, Any]) -> str:
    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    return f"{part(header)}.{part(claims())}."


@pytest.mark.parametrize("member", ["iss", "sub", "email", "\ud800"])
def test_a_token_with_half_a_surrogate_pair_is_refused_before_anything_is_looked_up(member: str) -> None:
    held = json.dumps(claims(**{member: "https://\ud800"})).encode()
    token = jws.serialize_compact({"alg": "RS256", "kid": "k1"}, held, KEY)
    for read in (issuer_of, ask):
        with pytest.raises(InvalidIdentityTokenException):
            read(token)
    with pytest.raises(InvalidIdentityTokenException):
        key_id_of(unsigned({"alg": "RS256", "kid": "\ud800"}))


def test_no_other_algorithm_is() -> None:
    octets = {"kty": "oct", "kid": "k1", "k": base64.urlsafe_b64encode(b"x" * 32).decode()}
    for token in (
        unsigned({"alg": "none", "kid": "k1"}),
        unsigned({"kid": "k1"}),
        sign(KEY, claims(), algorithm="PS256"),
    ):
        with pytest.raises(InvalidIdentityTokenException):
            ask(token)
    with pytest.raises(InvalidIdentityTokenException):
        ask(unsigned({"alg": "HS256", "kid": "k1"}), json.dumps({"keys": [octets]}))


def test_a_public_key_is_no_shared_secret() -> None:
    """The old confusion: HMAC under the text of the RSA key that everyone can read."""
    import hashlib
    import hmac

    head = unsigned({"alg": "HS256", "kid": "k1"}).rstrip(".")
    mac = hmac.digest(KEY.as_pem(private=False), head.encode(), hashlib.sha256)
    with pytest.raises(InvalidIdentityTokenException):
        ask(f"{head}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}")


def test_another_key_of_the_same_name_verifies_nothing() -> None:
    with pytest.raises(InvalidIdentityTokenException):
        ask(sign(new_key(), claims()))


def test_a_changed_token_is_not_believed() -> None:
    head, body, signature = sign(KEY, claims()).split(".")
    forged = base64.urlsafe_b64encode(json.dumps(claims(sub="repo:other")).encode()).rstrip(b"=").decode()
    for token in (
        f"{head}.{forged}.{signature}",
        f"{head}.{body}.{signature[:-8]}AAAAAAAA",
        f"{head}.{body}",
    ):
        with pytest.raises(InvalidIdentityTokenException):
            ask(token)


def test_a_key_that_is_not_known_is_asked_for() -> None:
    assert ask(sign(KEY, claims(), kid="k2")) is None
    assert ask(sign(KEY, claims()), key_set(new_key("P-256"))) is None


def test_a_token_without_a_name_is_believed_only_where_there_is_one_key() -> None:
    token = sign(KEY, claims(), kid=None)
    assert ask(token) is not None
    assert ask(token, key_set(KEY, new_key(key_id="k2"))) is None


def test_a_key_for_another_use_or_of_another_curve_is_none() -> None:
    for more in ({"use": "enc"}, {"alg": "RS512"}):
        raw = json.loads(key_set(KEY))
        raw["keys"][0].update(more)
        assert ask(sign(KEY, claims()), json.dumps(raw)) is None
    curve = new_key("P-384")
    assert ask(sign(curve, claims(), algorithm="ES384"), key_set(new_key("P-256"))) is None


def test_a_short_key_is_refused() -> None:
    with pytest.warns(SecurityWarning):
        short = new_key(1024)
    with pytest.raises(InvalidIdentityTokenException):
        ask(sign(short, claims()), key_set(short))


@pytest.mark.parametrize(
    "more",
    [
        {"iss": "https://other.example.com"},
        {"iss": None},
        {"iss": f"{ISSUER}/"},
        {"sub": None},
        {"sub": ""},
        {"sub": 7},
        {"aud": None},
        {"aud": "other"},
        {"aud": []},
        {"aud": ["other"]},
        {"azp": "other"},
        {"azp": 7},
        {"exp": None},
        {"exp": "tomorrow"},
        {"exp": True},
        {"nbf": NOW + 301},
        {"iat": NOW + 301},
        {"iat": "now"},
    ],
)
def test_claims_that_do_not_fit_are_refused(more: dict[str, Any]) -> None:
    with pytest.raises(InvalidIdentityTokenException):
        ask(sign(KEY, claims(**more)))


def test_a_token_ends_on_the_second() -> None:
    assert ask(sign(KEY, claims(exp=NOW + 1))) is not None
    for exp in (NOW, NOW - 1):
        with pytest.raises(ExpiredIdentityToken):
            ask(sign(KEY, claims(exp=exp)))
    assert refusal(lambda: ask(sign(KEY, claims(exp=NOW))))[0] == "ExpiredTokenException"
    assert timedelta(minutes=5).total_seconds() == 300
    assert ask(sign(KEY, claims(nbf=NOW + 300, iat=NOW + 300))) is not None


def test_the_authorised_party_goes_before_the_audience() -> None:
    found = ask(sign(KEY, claims(azp="turnlock", aud=["a", "b"])))
    assert found is not None
    keys = found.keys("token.example.com/Main")
    assert keys["token.example.com/main:aud"] == ["turnlock"]
    assert keys["token.example.com/main:oaud"] == ["a", "b"]
    assert keys["token.example.com/main:sub"] == ["repo:main"]


@pytest.mark.parametrize(
    "text", [b"", b"{}", b"[]", b'{"keys":[]}', b"no JSON", b'{"keys":[{"kty":"x"}]}', b"\xff"]
)
def test_what_is_no_key_set_is_not_kept(text: bytes) -> None:
    with pytest.raises(ValueError, match="It is no key set"):
        read_keys(text)


@pytest.mark.parametrize("token", ["", "x", "a.b", "a.b.c", "....", "é.é.é", "eyJhbGciOiJSUzI1NiJ9.e30."])
def test_what_is_no_token_is_refused(token: str) -> None:
    with pytest.raises(InvalidIdentityTokenException):
        ask(token)
