"""Encrypt, Decrypt, ReEncrypt and data keys, through the gate, on both stores."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import load_der_private_key, load_der_public_key
from sqlalchemy import select

from tests.calling import ACCOUNT, REGION, Client, refusal
from tests.support import StorePlace
from turnlock.core.arn import Region
from turnlock.kms.tables import kms_key_materials

CONTEXT = {"purpose": "test", "app": "shop"}


def encrypted(kms: Client, key: str, plaintext: bytes = b"hello", **more: Any) -> bytes:
    blob: bytes = kms("Encrypt", KeyId=key, Plaintext=plaintext, **more)["CiphertextBlob"]
    return blob


@pytest.mark.parametrize("plaintext", [b"\x00", b"hello", b"x" * 4096])
def test_what_was_encrypted_is_decrypted(kms: Client, key: str, plaintext: bytes) -> None:
    blob = encrypted(kms, key, plaintext, EncryptionContext=CONTEXT)
    assert plaintext not in blob or len(plaintext) == 1
    assert len(blob) <= 6144
    opened = kms("Decrypt", CiphertextBlob=blob, EncryptionContext=dict(reversed(CONTEXT.items())))
    assert (opened["Plaintext"], opened["KeyId"]) == (plaintext, key)
    assert opened["EncryptionAlgorithm"] == "SYMMETRIC_DEFAULT"


def test_more_than_4096_bytes_are_refused(kms: Client, key: str) -> None:
    assert refusal(lambda: encrypted(kms, key, b"x" * 4097))[0] == "ValidationException"


@pytest.mark.parametrize(
    "context", [{}, {"purpose": "test"}, {**CONTEXT, "more": ""}, {"app": "test", "purpose": "shop"}]
)
def test_another_context_opens_nothing(kms: Client, key: str, context: dict[str, str]) -> None:
    blob = encrypted(kms, key, EncryptionContext=CONTEXT)
    code, _ = refusal(lambda: kms("Decrypt", CiphertextBlob=blob, EncryptionContext=context))
    assert code == "InvalidCiphertextException"


def test_a_flipped_bit_at_every_position_opens_nothing(kms: Client, key: str) -> None:
    blob = encrypted(kms, key)
    for position in range(len(blob)):
        changed = bytearray(blob)
        changed[position] ^= 1 << position % 8
        code, _ = refusal(lambda changed=bytes(changed): kms("Decrypt", CiphertextBlob=changed))  # type: ignore[misc]
        assert code == "InvalidCiphertextException", position


@pytest.mark.parametrize("blob", [b"x", b"TLKC\x01", b"TLKC\x01\xff", b"TLKE\x01" + b"x" * 200])
def test_what_is_no_ciphertext_is_an_invalid_one(kms: Client, blob: bytes) -> None:
    assert refusal(lambda: kms("Decrypt", CiphertextBlob=blob))[0] == "InvalidCiphertextException"


def naive_decrypt(store_place: StorePlace, sealed: bytes, blob: bytes) -> bytes:
    """Open a ciphertext without context by the words of the format alone."""

    def joined(*parts: bytes) -> bytes:
        return b"".join(struct.pack(">I", len(part)) + part for part in parts)

    length = blob[5]
    arn, number, body = blob[6 : 6 + length], blob[6 + length : 10 + length], blob[10 + length :]
    assert number == b"\x00\x00\x00\x01"
    key_id = arn.rpartition(b"/")[2]
    place = joined(b"kms-material", ACCOUNT.encode(), REGION.encode(), key_id, b"1")
    material = store_place.keyring.unwrap(sealed, context=place)
    aad = joined(b"kms-ciphertext", blob[: 10 + length], place, b"")
    return AESGCM(material).decrypt(body[:12], body[12:], aad)


def test_a_ciphertext_is_laid_out_as_its_format_says(kms: Client, store_place: StorePlace) -> None:
    metadata = kms("CreateKey")["KeyMetadata"]
    blob = encrypted(kms, metadata["Arn"])
    sealed = kms.database.read(
        lambda unit: unit.connection.execute(
            select(kms_key_materials.c.sealed).where(kms_key_materials.c.key_id == metadata["KeyId"])
        ).scalar_one()
    )
    assert blob.startswith(b"TLKC\x01")
    assert naive_decrypt(store_place, sealed, blob) == b"hello"


def test_a_key_is_named_by_id_arn_alias_and_alias_arn(kms: Client, key: str) -> None:
    kms("CreateAlias", AliasName="alias/mine", TargetKeyId=key)
    names = [key, key.rpartition("/")[2], "alias/mine", f"{key.rpartition(':')[0]}:alias/mine"]
    assert {kms("Encrypt", KeyId=name, Plaintext=b"x")["KeyId"] for name in names} == {key}


def test_a_key_id_beside_a_ciphertext_must_be_the_ciphertexts_own(kms: Client, key: str) -> None:
    other = kms("CreateKey")["KeyMetadata"]["Arn"]
    blob = encrypted(kms, key)
    assert kms("Decrypt", CiphertextBlob=blob, KeyId=key)["Plaintext"] == b"hello"
    assert refusal(lambda: kms("Decrypt", CiphertextBlob=blob, KeyId=other))[0] == "IncorrectKeyException"


def test_a_ciphertext_is_good_in_its_own_region_only(kms: Client, key: str) -> None:
    blob = encrypted(kms, key)
    elsewhere = kms.elsewhere(region=Region("eu-west-1"))
    assert refusal(lambda: elsewhere("Decrypt", CiphertextBlob=blob))[0] == "InvalidCiphertextException"
    assert refusal(lambda: elsewhere("DescribeKey", KeyId=key))[0] == "NotFoundException"


def test_reencrypt_changes_key_and_context_and_shows_no_plaintext(kms: Client, key: str) -> None:
    other = kms("CreateKey")["KeyMetadata"]["Arn"]
    blob = encrypted(kms, key, EncryptionContext=CONTEXT)
    answer = kms(
        "ReEncrypt",
        CiphertextBlob=blob,
        SourceEncryptionContext=CONTEXT,
        DestinationKeyId=other,
        DestinationEncryptionContext={"new": "context"},
    )
    assert (answer["SourceKeyId"], answer["KeyId"], "Plaintext" in answer) == (key, other, False)
    opened = kms(
        "Decrypt", CiphertextBlob=answer["CiphertextBlob"], EncryptionContext={"new": "context"}, KeyId=other
    )
    assert opened["Plaintext"] == b"hello"
    assert (
        refusal(lambda: kms("ReEncrypt", CiphertextBlob=blob, DestinationKeyId=other))[0]
        == "InvalidCiphertextException"
    )


@pytest.mark.parametrize(
    ("asked", "length"),
    [({"KeySpec": "AES_256"}, 32), ({"KeySpec": "AES_128"}, 16), ({"NumberOfBytes": 1024}, 1024)],
)
def test_a_data_key_is_given_twice_in_the_clear_and_encrypted(
    kms: Client, key: str, asked: dict[str, Any], length: int
) -> None:
    made = kms("GenerateDataKey", KeyId=key, EncryptionContext=CONTEXT, **asked)
    assert len(made["Plaintext"]) == length
    opened = kms("Decrypt", CiphertextBlob=made["CiphertextBlob"], EncryptionContext=CONTEXT)
    assert opened["Plaintext"] == made["Plaintext"]
    silent = kms("GenerateDataKeyWithoutPlaintext", KeyId=key, **asked)
    assert "Plaintext" not in silent
    assert len(kms("Decrypt", CiphertextBlob=silent["CiphertextBlob"])["Plaintext"]) == length


@pytest.mark.parametrize("asked", [{}, {"KeySpec": "AES_256", "NumberOfBytes": 32}])
def test_a_data_key_has_one_size(kms: Client, key: str, asked: dict[str, Any]) -> None:
    assert refusal(lambda: kms("GenerateDataKey", KeyId=key, **asked))[0] == "ValidationException"


def test_a_data_key_pair_is_one_pair(kms: Client, key: str) -> None:
    made = kms("GenerateDataKeyPair", KeyId=key, KeyPairSpec="ECC_NIST_P256")
    private = load_der_private_key(made["PrivateKeyPlaintext"], None)
    assert private.public_key() == load_der_public_key(made["PublicKey"])
    opened = kms("Decrypt", CiphertextBlob=made["PrivateKeyCiphertextBlob"])
    assert opened["Plaintext"] == made["PrivateKeyPlaintext"]
    silent = kms("GenerateDataKeyPairWithoutPlaintext", KeyId=key, KeyPairSpec="ECC_NIST_P256")
    assert "PrivateKeyPlaintext" not in silent


def test_random_bytes_are_as_many_as_asked(kms: Client) -> None:
    drawn = [kms("GenerateRandom", NumberOfBytes=32)["Plaintext"] for _ in range(2)]
    assert [len(one) for one in drawn] == [32, 32]
    assert drawn[0] != drawn[1]


@pytest.mark.parametrize("algorithm", ["RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256"])
def test_rsa_keys_encrypt_without_context(kms: Client, algorithm: str) -> None:
    made = kms("CreateKey", KeySpec="RSA_2048", KeyUsage="ENCRYPT_DECRYPT")["KeyMetadata"]
    asked = {"KeyId": made["Arn"], "EncryptionAlgorithm": algorithm}
    blob = kms("Encrypt", Plaintext=b"hello", **asked)["CiphertextBlob"]
    assert kms("Decrypt", CiphertextBlob=blob, **asked)["Plaintext"] == b"hello"
    changed = bytes([blob[0] ^ 1]) + blob[1:]
    assert refusal(lambda: kms("Decrypt", CiphertextBlob=changed, **asked))[0] == "InvalidCiphertextException"
    with_context = {**asked, "EncryptionContext": CONTEXT}
    assert refusal(lambda: kms("Encrypt", Plaintext=b"x", **with_context))[0] == "ValidationException"
    assert refusal(lambda: kms("Encrypt", Plaintext=b"x" * 300, **asked))[0] == "ValidationException"
    wrong = refusal(lambda: kms("Encrypt", KeyId=made["Arn"], Plaintext=b"x"))
    assert wrong[0] == "InvalidKeyUsageException"


@pytest.mark.parametrize("operation", ["Encrypt", "GenerateDataKey"])
def test_a_dry_run_says_that_it_would_succeed_and_does_nothing(kms: Client, key: str, operation: str) -> None:
    asked = {"Plaintext": b"x"} if operation == "Encrypt" else {"KeySpec": "AES_256"}
    assert refusal(lambda: kms(operation, KeyId=key, DryRun=True, **asked))[0] == "DryRunOperationException"


def test_no_plaintext_reaches_the_trail(kms: Client, key: str) -> None:
    blob = encrypted(kms, key, b"correct horse")
    kms("Decrypt", CiphertextBlob=blob)
    data_key = kms("GenerateDataKey", KeyId=key, KeySpec="AES_256")["Plaintext"]
    text = repr(kms.records)
    assert [record["eventName"] for record in kms.records[-3:]] == ["Encrypt", "Decrypt", "GenerateDataKey"]
    assert "Y29ycmVjdCBob3JzZQ" not in text
    assert "correct horse" not in text
    assert repr(data_key) not in text
