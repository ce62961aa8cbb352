"""Sign, Verify, GetPublicKey and MACs: what comes out is checked by `cryptography` alone."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512
from cryptography.hazmat.primitives.serialization import load_der_public_key

from tests.calling import ACCOUNT, REGION, Client, refusal
from turnlock.errors import KMSInvalidSignatureException
from turnlock.kms.cryptography.materials import open_secret
from turnlock.kms.cryptography.specs import SPECS
from turnlock.kms.model import KeyUsage
from turnlock.kms.store import find_key

MESSAGE = b"a message"
HASHES: dict[str, type[SHA256 | SHA384 | SHA512]] = {"256": SHA256, "384": SHA384, "512": SHA512}
CASES = [
    (spec.name, algorithm)
    for spec in SPECS.values()
    for algorithm in spec.algorithms.get(KeyUsage.SIGN_VERIFY, ())
    if spec.name not in {"RSA_3072", "RSA_4096"}
]


def make(kms: Client, spec: str, usage: str = "SIGN_VERIFY") -> str:
    arn: str = kms("CreateKey", KeySpec=spec, KeyUsage=usage)["KeyMetadata"]["Arn"]
    return arn


def verify_outside(kms: Client, key: str, algorithm: str, signature: bytes) -> None:
    """Verify a signature with the public key that the server shows."""
    public = load_der_public_key(kms("GetPublicKey", KeyId=key)["PublicKey"])
    digest = HASHES[algorithm.rpartition("_")[2]]()
    if isinstance(public, rsa.RSAPublicKey):
        pss = padding.PSS(mgf=padding.MGF1(digest), salt_length=digest.digest_size)
        public.verify(signature, MESSAGE, padding.PKCS1v15() if "PKCS1" in algorithm else pss, digest)
    elif isinstance(public, ec.EllipticCurvePublicKey):
        public.verify(signature, MESSAGE, ec.ECDSA(digest))
    else:
        assert isinstance(public, ed25519.Ed25519PublicKey)
        public.verify(signature, MESSAGE)


def test_every_algorithm_signs_what_others_can_verify(kms: Client) -> None:
    made: dict[str, str] = {}
    for spec, algorithm in CASES:
        key = made.setdefault(spec, "") or make(kms, spec)
        made[spec] = key
        asked = {"KeyId": key, "Message": MESSAGE, "SigningAlgorithm": algorithm}
        signature = kms("Sign", **asked)["Signature"]
        verify_outside(kms, key, algorithm, signature)
        assert kms("Verify", Signature=signature, **asked)["SignatureValid"] is True
        other = {**asked, "Message": MESSAGE + b"!"}
        with pytest.raises(KMSInvalidSignatureException):
            kms("Verify", Signature=signature, **other)
        if not algorithm.startswith("ED25519"):
            digest = hashlib.new(f"sha{algorithm.rpartition('_')[2]}", MESSAGE).digest()
            hashed = {**asked, "Message": digest, "MessageType": "DIGEST"}
            assert kms("Verify", Signature=signature, **hashed)["SignatureValid"] is True
            verify_outside(kms, key, algorithm, kms("Sign", **hashed)["Signature"])


def test_a_digest_of_another_length_and_a_foreign_algorithm_are_refused(kms: Client) -> None:
    key = make(kms, "ECC_NIST_P256")
    short = {"KeyId": key, "Message": b"short", "MessageType": "DIGEST", "SigningAlgorithm": "ECDSA_SHA_256"}
    assert refusal(lambda: kms("Sign", **short))[0] == "ValidationException"
    foreign = {"KeyId": key, "Message": b"m", "SigningAlgorithm": "ECDSA_SHA_384"}
    assert refusal(lambda: kms("Sign", **foreign))[0] == "InvalidKeyUsageException"
    assert refusal(lambda: kms("Sign", **{**short, "Message": bytes(32), "DryRun": True}))[0] == (
        "DryRunOperationException"
    )


@pytest.mark.parametrize("bits", [224, 256, 384, 512])
def test_a_mac_is_hmac_under_the_keys_material(kms: Client, bits: int) -> None:
    key = make(kms, f"HMAC_{bits}", "GENERATE_VERIFY_MAC")
    asked = {"KeyId": key, "Message": MESSAGE, "MacAlgorithm": f"HMAC_SHA_{bits}"}
    made = kms("GenerateMac", **asked)["Mac"]

    def secret(unit: Any) -> bytes:
        found = find_key(unit, ACCOUNT, REGION, key.rpartition("/")[2])
        assert found is not None
        return open_secret(unit, found)

    assert made == hmac.digest(kms.database.read(secret), MESSAGE, f"sha{bits}")
    assert kms("VerifyMac", Mac=made, **asked)["MacValid"] is True
    forged = bytes([made[0] ^ 1]) + made[1:]
    assert refusal(lambda: kms("VerifyMac", Mac=forged, **asked))[0] == "KMSInvalidMacException"


def test_a_key_does_what_it_is_for_and_nothing_else(kms: Client, key: str) -> None:
    signing, mac = make(kms, "ECC_NIST_P384"), make(kms, "HMAC_256", "GENERATE_VERIFY_MAC")
    calls = (
        lambda: kms("Encrypt", KeyId=signing, Plaintext=b"x"),
        lambda: kms("Sign", KeyId=key, Message=b"m", SigningAlgorithm="ECDSA_SHA_256"),
        lambda: kms("GenerateMac", KeyId=signing, Message=b"m", MacAlgorithm="HMAC_SHA_256"),
        lambda: kms("GenerateDataKey", KeyId=mac, KeySpec="AES_256"),
    )
    assert [refusal(call)[0] for call in calls] == ["InvalidKeyUsageException"] * 4
    for without in (key, mac):
        shown = refusal(lambda without=without: kms("GetPublicKey", KeyId=without))  # type: ignore[misc]
        assert shown[0] == "UnsupportedOperationException"
