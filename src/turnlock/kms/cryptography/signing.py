"""Sign, Verify, GetPublicKey, GenerateMac and VerifyMac."""

from __future__ import annotations

import hmac
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512, HashAlgorithm

from turnlock.core.action import Answer, Request
from turnlock.core.call import Call
from turnlock.errors import (
    DryRunOperationException,
    InvalidKeyUsageException,
    KMSInvalidMacException,
    KMSInvalidSignatureException,
    UnsupportedOperationException,
    ValidationException,
)
from turnlock.kms.cryptography.materials import KeyPair, open_pair, open_secret, public_bytes
from turnlock.kms.cryptography.specs import SPECS
from turnlock.kms.grants.api import check_tokens
from turnlock.kms.lookup import USED, require_usable
from turnlock.kms.model import KeyUsage, KmsKey
from turnlock.storage import Unit

_HASHES: Final[dict[str, type[HashAlgorithm]]] = {"256": SHA256, "384": SHA384, "512": SHA512}


def sign(call: Call, request: Request, unit: Unit) -> Answer:
    """Sign a message, or its digest."""
    key, algorithm = _usable(call, request, unit, KeyUsage.SIGN_VERIFY, "SigningAlgorithm")
    message = _checked_message(request, algorithm)
    _stop_dry_run(request)
    signature = _signature(open_pair(unit, key), algorithm, message, request.get("MessageType", "RAW"))
    return {"KeyId": key.arn, "Signature": signature, "SigningAlgorithm": algorithm}


def verify(call: Call, request: Request, unit: Unit) -> Answer:
    """Verify a signature. Raises KMSInvalidSignatureException for one that is not the key's over this message."""
    key, algorithm = _usable(call, request, unit, KeyUsage.SIGN_VERIFY, "SigningAlgorithm")
    message = _checked_message(request, algorithm)
    _stop_dry_run(request)
    try:
        _verify(open_pair(unit, key), algorithm, request, message)
    except InvalidSignature:
        raise KMSInvalidSignatureException from None
    return {"KeyId": key.arn, "SignatureValid": True, "SigningAlgorithm": algorithm}


def get_public_key(call: Call, request: Request, unit: Unit) -> Answer:
    """GetPublicKey: as SubjectPublicKeyInfo. Raises UnsupportedOperationException for keys that have none."""
    key = USED.require(call, request, unit)
    check_tokens(request, unit)
    require_usable(key, key.usage, call.action)
    spec = SPECS[key.spec]
    if not spec.asymmetric:
        raise UnsupportedOperationException(f"{key.arn} has no public key.")
    signs = key.usage is KeyUsage.SIGN_VERIFY
    algorithms = list(spec.algorithms[key.usage])
    return {
        "KeyId": key.arn,
        "PublicKey": public_bytes(open_pair(unit, key)),
        "CustomerMasterKeySpec": key.spec,
        "KeySpec": key.spec,
        "KeyUsage": key.usage.value,
        "SigningAlgorithms" if signs else "EncryptionAlgorithms": algorithms,
    }


def generate_mac(call: Call, request: Request, unit: Unit) -> Answer:
    """GenerateMac: HMAC (FIPS 198-1) of a message."""
    key, algorithm = _usable(call, request, unit, KeyUsage.GENERATE_VERIFY_MAC, "MacAlgorithm")
    _stop_dry_run(request)
    return {
        "Mac": _hmac(unit, key, algorithm, request["Message"]),
        "MacAlgorithm": algorithm,
        "KeyId": key.arn,
    }


def verify_mac(call: Call, request: Request, unit: Unit) -> Answer:
    """VerifyMac. Raises KMSInvalidMacException for a MAC that is not the key's over this message."""
    key, algorithm = _usable(call, request, unit, KeyUsage.GENERATE_VERIFY_MAC, "MacAlgorithm")
    _stop_dry_run(request)
    if not hmac.compare_digest(_hmac(unit, key, algorithm, request["Message"]), request["Mac"]):
        raise KMSInvalidMacException
    return {"KeyId": key.arn, "MacValid": True, "MacAlgorithm": algorithm}


def _usable(call: Call, request: Request, unit: Unit, usage: KeyUsage, member: str) -> tuple[KmsKey, str]:
    """Return the key and the algorithm that a request names, which fit each other."""
    key, algorithm = USED.require(call, request, unit), str(request[member])
    require_usable(key, usage, call.action)
    check_tokens(request, unit)
    if algorithm not in SPECS[key.spec].algorithms[usage]:
        raise InvalidKeyUsageException(f"Algorithm {algorithm} is incompatible with key spec {key.spec}.")
    return key, algorithm


def _hash_of(algorithm: str) -> HashAlgorithm:
    return _HASHES[algorithm.rpartition("_")[2]]()


def _checked_message(request: Request, algorithm: str) -> bytes:
    """Return the message. Raises ValidationException for a digest of another length than the algorithm's."""
    message, kind = bytes(request["Message"]), request.get("MessageType", "RAW")
    if kind == "EXTERNAL_MU" or (kind == "DIGEST" and algorithm.startswith("ED25519")):
        raise ValidationException(f"MessageType {kind} is incompatible with {algorithm}.")
    if kind == "DIGEST" and len(message) != _hash_of(algorithm).digest_size:
        raise ValidationException(f"Digest is invalid length for algorithm {algorithm}.")
    return message


def _padding(algorithm: str) -> padding.PSS | padding.PKCS1v15:
    """Return the padding of an RSA signature; PSS has a salt as long as the digest (KMS developer guide)."""
    if "PKCS1" in algorithm:
        return padding.PKCS1v15()
    digest = _hash_of(algorithm)
    return padding.PSS(mgf=padding.MGF1(digest), salt_length=digest.digest_size)


def _signature(pair: KeyPair, algorithm: str, message: bytes, kind: str) -> bytes:
    digest = None if algorithm.startswith("ED25519") else _digest(algorithm, kind)
    if isinstance(pair, rsa.RSAPrivateKey) and digest is not None:
        return pair.sign(message, _padding(algorithm), digest)
    if isinstance(pair, ec.EllipticCurvePrivateKey) and digest is not None:
        return pair.sign(message, ec.ECDSA(digest))
    assert not isinstance(pair, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey)
    return pair.sign(message)


def _verify(pair: KeyPair, algorithm: str, request: Request, message: bytes) -> None:
    signature, kind = request["Signature"], request.get("MessageType", "RAW")
    if isinstance(pair, rsa.RSAPrivateKey):
        pair.public_key().verify(signature, message, _padding(algorithm), _digest(algorithm, kind))
    elif isinstance(pair, ec.EllipticCurvePrivateKey):
        pair.public_key().verify(signature, message, ec.ECDSA(_digest(algorithm, kind)))
    else:
        pair.public_key().verify(signature, message)


def _digest(algorithm: str, kind: str) -> HashAlgorithm | Prehashed:
    digest = _hash_of(algorithm)
    return Prehashed(digest) if kind == "DIGEST" else digest


def _hmac(unit: Unit, key: KmsKey, algorithm: str, message: bytes) -> bytes:
    return hmac.digest(open_secret(unit, key), message, f"sha{algorithm.rpartition('_')[2]}")


def _stop_dry_run(request: Request) -> None:
    if request.get("DryRun", False):
        raise DryRunOperationException
