"""Encrypt, Decrypt, ReEncrypt, GenerateRandom and the operations for data keys.

Up to 4096 bytes are encrypted directly under a symmetric key's material, bound to the key, the material's row and the
encryption context; `envelope` has the format. RSA keys encrypt by PKCS #1, without context and marker.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA1, SHA256

from turnlock.core.action import Answer, Request, Subject
from turnlock.core.call import Call
from turnlock.errors import (
    DryRunOperationException,
    IncorrectKeyException,
    InvalidArnException,
    InvalidCiphertextException,
    InvalidKeyUsageException,
    NotFoundException,
    SealBroken,
    UnsupportedOperationException,
    ValidationException,
)
from turnlock.kms import store
from turnlock.kms.cryptography.ciphertexts import decrypt_under, encrypt_under
from turnlock.kms.cryptography.materials import (
    KeyPair,
    draw_pair,
    material_name,
    open_pair,
    private_bytes,
    public_bytes,
)
from turnlock.kms.cryptography.specs import SPECS, spec_of
from turnlock.kms.grants.api import check_tokens
from turnlock.kms.lookup import USED, KeyNaming, ciphertext_subject, require_usable
from turnlock.kms.model import SYMMETRIC, KeyUsage, KmsKey, canonical_context
from turnlock.root_keys import Ciphertext
from turnlock.storage import Unit
from turnlock.storage.alarms import broken

DESTINATION: Final = KeyNaming(member="DestinationKeyId", aliases=True, foreign=True)
SOURCE: Final = KeyNaming(member="SourceKeyId", aliases=True, foreign=True)

MOST_BYTES: Final = 4_096
"""Of a plaintext (API reference, Encrypt)."""

_LARGEST_CONTEXT: Final = 8_192
"""Bytes of an encryption context with its keys (KMS developer guide, "Encryption context")."""

_DATA_KEYS: Final = {"AES_128": 16, "AES_256": 32}
_OAEP_HASHES: Final = {"RSAES_OAEP_SHA_1": SHA1, "RSAES_OAEP_SHA_256": SHA256}


def encrypt(call: Call, request: Request, unit: Unit) -> Answer:
    """Encrypt up to 4096 bytes. Raises ValidationException for more than the algorithm takes."""
    key = _usable(call, request, unit)
    algorithm = _algorithm(key, request.get("EncryptionAlgorithm"))
    _stop_dry_run(request)
    blob = _encrypted(unit, key, algorithm, request["Plaintext"], _context(request, key))
    return {"CiphertextBlob": blob, "KeyId": key.arn, "EncryptionAlgorithm": algorithm}


def decrypt(call: Call, request: Request, unit: Unit) -> Answer:
    """Decrypt the output of Encrypt or GenerateDataKey, for the same encryption context.

    Raises InvalidCiphertextException for anything else, IncorrectKeyException where KeyId names another key than the
    ciphertext does.
    """
    _refuse_recipient(request)
    key = _source_key(call, request, unit, USED)
    plaintext, material = _decrypted(unit, key, request, "EncryptionAlgorithm", "EncryptionContext")
    return {
        "KeyId": key.arn,
        "Plaintext": plaintext,
        "EncryptionAlgorithm": _algorithm(key, request.get("EncryptionAlgorithm")),
        "KeyMaterialId": material,
    }


def re_encrypt(call: Call, request: Request, unit: Unit) -> Answer:
    """ReEncrypt: from one key, or context, to another; the plaintext is not returned.

    The gate has checked ReEncryptTo on the destination; this checks ReEncryptFrom on the source.
    """
    call.gate.require("ReEncryptFrom", request)
    source = _source_key(call, request, unit, SOURCE)
    destination = DESTINATION.require(call, request, unit)
    require_usable(destination, KeyUsage.ENCRYPT_DECRYPT, call.action)
    algorithm = _algorithm(destination, request.get("DestinationEncryptionAlgorithm"))
    plaintext, material = _decrypted(
        unit, source, request, "SourceEncryptionAlgorithm", "SourceEncryptionContext"
    )
    context = _context(request, destination, "DestinationEncryptionContext")
    return {
        "CiphertextBlob": _encrypted(unit, destination, algorithm, plaintext, context),
        "SourceKeyId": source.arn,
        "KeyId": destination.arn,
        "SourceEncryptionAlgorithm": _algorithm(source, request.get("SourceEncryptionAlgorithm")),
        "DestinationEncryptionAlgorithm": algorithm,
        "SourceKeyMaterialId": material,
        "DestinationKeyMaterialId": _current_name(destination),
    }


def source_subject(call: Call, request: Request, unit: Unit) -> Subject:
    """Return the subject of ReEncryptFrom: the source key, without the destination's context."""
    asked = {
        name: value
        for name, value in request.items()
        if name in {"CiphertextBlob", "SourceEncryptionContext"}
    }
    if "SourceKeyId" in request:
        asked["KeyId"] = request["SourceKeyId"]
    return ciphertext_subject(call, asked, unit)


def generate_data_key(call: Call, request: Request, unit: Unit) -> Answer:
    """GenerateDataKey: random bytes, as plaintext and encrypted under the key."""
    _refuse_recipient(request)
    return _data_key(call, request, unit)


def generate_data_key_without_plaintext(call: Call, request: Request, unit: Unit) -> Answer:
    """GenerateDataKeyWithoutPlaintext: random bytes, encrypted under the key."""
    return _without("Plaintext", _data_key(call, request, unit))


def generate_data_key_pair(call: Call, request: Request, unit: Unit) -> Answer:
    """GenerateDataKeyPair: a key pair, its private key as plaintext and encrypted under the key."""
    _refuse_recipient(request)
    return _data_key_pair(call, request, unit)


def prepare_data_key_pair(request: Request) -> KeyPair | None:
    """Generate the key pair; None for a dry run."""
    spec = spec_of(request["KeyPairSpec"])
    return None if request.get("DryRun", False) else draw_pair(spec)


def generate_data_key_pair_without_plaintext(call: Call, request: Request, unit: Unit) -> Answer:
    """GenerateDataKeyPairWithoutPlaintext: a key pair, its private key encrypted under the key."""
    return _without("PrivateKeyPlaintext", _data_key_pair(call, request, unit))


def generate_random(_call: Call, request: Request, unit: Unit) -> Answer:
    """GenerateRandom: up to 1024 bytes from the kernel."""
    _refuse_recipient(request)
    if "CustomKeyStoreId" in request:
        raise UnsupportedOperationException("Custom key stores are not supported by this server.")
    if "NumberOfBytes" not in request:
        raise ValidationException("NumberOfBytes is required.")
    return {"Plaintext": unit.entropy.bytes(request["NumberOfBytes"])}


def _usable(call: Call, request: Request, unit: Unit) -> KmsKey:
    key = USED.require(call, request, unit)
    require_usable(key, KeyUsage.ENCRYPT_DECRYPT, call.action)
    check_tokens(request, unit)
    return key


def _source_key(call: Call, request: Request, unit: Unit, naming: KeyNaming) -> KmsKey:
    """Return the key that decrypts: the one that a symmetric ciphertext names. The request may name it too."""
    blob = request.get("CiphertextBlob")
    if blob is None:
        raise ValidationException("CiphertextBlob is required.")
    named = naming.require(call, request, unit) if naming.member in request else None
    if named is None or named.spec == SYMMETRIC:
        found = _key_of_blob(call, unit, blob)
        if named is not None and found != named:
            raise IncorrectKeyException
        named = found
    require_usable(named, KeyUsage.ENCRYPT_DECRYPT, call.action)
    check_tokens(request, unit)
    return named


def _key_of_blob(call: Call, unit: Unit, blob: bytes) -> KmsKey:
    """Return the key that a ciphertext names. Every error has the same answer."""
    try:
        return USED.require(call, {"KeyId": Ciphertext.parse(blob).key_arn}, unit)
    except (SealBroken, NotFoundException, InvalidArnException):
        raise InvalidCiphertextException from None


def _encrypted(unit: Unit, key: KmsKey, algorithm: str, plaintext: bytes, context: bytes) -> bytes:
    if key.spec != SYMMETRIC:
        return _rsa_encrypted(unit, key, algorithm, plaintext)
    material = store.current_material(unit, key)
    if material is None:
        broken(f"The material of {key.arn}", "is gone", owner=key.arn)
    return encrypt_under(unit, material, plaintext, context).pack()


def _rsa_encrypted(unit: Unit, key: KmsKey, algorithm: str, plaintext: bytes) -> bytes:
    pair = open_pair(unit, key)
    assert isinstance(pair, rsa.RSAPrivateKey)
    try:
        return pair.public_key().encrypt(plaintext, _oaep(algorithm))
    except ValueError:
        raise ValidationException(f"The plaintext is too long for {key.spec} with {algorithm}.") from None


def _decrypted(
    unit: Unit, key: KmsKey, request: Request, algorithm_member: str, context_member: str
) -> tuple[bytes, str | None]:
    """Return (plaintext, KeyMaterialId of the material that decrypted it). Raises InvalidCiphertextException."""
    algorithm = _algorithm(key, request.get(algorithm_member))
    context, blob = _context(request, key, context_member), request["CiphertextBlob"]
    _stop_dry_run(request)
    if key.spec != SYMMETRIC:
        pair = open_pair(unit, key)
        assert isinstance(pair, rsa.RSAPrivateKey)
        try:
            return pair.decrypt(blob, _oaep(algorithm)), None
        except ValueError:
            raise InvalidCiphertextException from None
    sealed = Ciphertext.parse(blob)
    return decrypt_under(unit, key, sealed, context), material_name(key, sealed.material_id)


def _data_key(call: Call, request: Request, unit: Unit) -> dict[str, Any]:
    key = _usable(call, request, unit)
    _require_symmetric(key, call)
    if ("NumberOfBytes" in request) == ("KeySpec" in request):
        raise ValidationException("Please specify either number of bytes or key spec.")
    _stop_dry_run(request)
    count = request["NumberOfBytes"] if "NumberOfBytes" in request else _DATA_KEYS[request["KeySpec"]]
    plaintext = unit.entropy.bytes(count)
    return {
        "CiphertextBlob": _encrypted(unit, key, SYMMETRIC, plaintext, _context(request, key)),
        "Plaintext": plaintext,
        "KeyId": key.arn,
        "KeyMaterialId": _current_name(key),
    }


def _data_key_pair(call: Call, request: Request, unit: Unit) -> dict[str, Any]:
    key = _usable(call, request, unit)
    _require_symmetric(key, call)
    spec = spec_of(request["KeyPairSpec"])
    _stop_dry_run(request)
    pair: KeyPair = call.gate.prepared()
    private = private_bytes(pair)
    return {
        "PrivateKeyCiphertextBlob": _encrypted(unit, key, SYMMETRIC, private, _context(request, key)),
        "PrivateKeyPlaintext": private,
        "PublicKey": public_bytes(pair),
        "KeyId": key.arn,
        "KeyPairSpec": spec.name,
        "KeyMaterialId": _current_name(key),
    }


def _without(member: str, answer: dict[str, Any]) -> Answer:
    return {name: value for name, value in answer.items() if name != member}


def _context(request: Request, key: KmsKey, member: str = "EncryptionContext") -> bytes:
    pairs: Mapping[str, str] = request.get(member, {})
    if pairs and key.spec != SYMMETRIC:
        raise ValidationException("EncryptionContext is only supported for symmetric encryption keys.")
    context = canonical_context(pairs)
    if len(context) > _LARGEST_CONTEXT:
        raise ValidationException(f"An encryption context can have at most {_LARGEST_CONTEXT} bytes.")
    return context


def _algorithm(key: KmsKey, asked: str | None) -> str:
    """Return the request's algorithm. Raises InvalidKeyUsageException for one that the key does not have."""
    algorithm = SYMMETRIC if asked is None else asked
    if algorithm not in SPECS[key.spec].algorithms[KeyUsage.ENCRYPT_DECRYPT]:
        raise InvalidKeyUsageException(f"Algorithm {algorithm} is incompatible with key spec {key.spec}.")
    return algorithm


def _oaep(algorithm: str) -> padding.OAEP:
    digest = _OAEP_HASHES[algorithm]()
    return padding.OAEP(mgf=padding.MGF1(algorithm=digest), algorithm=digest, label=None)


def _current_name(key: KmsKey) -> str | None:
    return material_name(key, key.current_material) if key.spec == SYMMETRIC else None


def _require_symmetric(key: KmsKey, call: Call) -> None:
    if key.spec != SYMMETRIC:
        raise InvalidKeyUsageException(
            f"{key.arn} key spec is {key.spec} which is not valid for {call.action}."
        )


def _refuse_recipient(request: Request) -> None:
    if "Recipient" in request:
        raise UnsupportedOperationException("Attested recipients (Nitro enclaves) are not supported.")


def _stop_dry_run(request: Request) -> None:
    """Raise DryRunOperationException for a dry run."""
    if request.get("DryRun", False):
        raise DryRunOperationException
