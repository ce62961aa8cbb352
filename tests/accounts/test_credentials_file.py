"""The shared credentials file, read back by botocore's own parser."""

from __future__ import annotations

from pathlib import Path

import pytest
from botocore.configloader import raw_config_parse

from turnlock.accounts import NewCredentials, profile_text, write_credentials
from turnlock.errors import ConfigurationError

ONE = NewCredentials(access_key_id="AKIAONE", secret_access_key="secret-one")
TWO = NewCredentials(access_key_id="AKIATWO", secret_access_key="secret-two")


def as_read(credentials: NewCredentials) -> dict[str, str]:
    return {
        "aws_access_key_id": credentials.access_key_id,
        "aws_secret_access_key": credentials.secret_access_key,
    }


def test_the_file_is_for_its_owner_alone_and_an_sdk_reads_it(tmp_path: Path) -> None:
    path = write_credentials(tmp_path, {"default": ONE})
    assert path == tmp_path / "credentials"
    assert path.stat().st_mode & 0o777 == 0o600
    assert raw_config_parse(str(path)) == {"default": as_read(ONE)}


def test_further_accounts_have_profiles_of_their_own(tmp_path: Path) -> None:
    write_credentials(tmp_path, {"default": ONE})
    path = write_credentials(tmp_path, {"default": ONE, "999999999999": TWO})
    assert raw_config_parse(str(path)) == {"default": as_read(ONE), "999999999999": as_read(TWO)}
    assert [entry.name for entry in tmp_path.iterdir()] == ["credentials"]


def test_text_of_a_profile_can_be_added_to_a_file(tmp_path: Path) -> None:
    path = write_credentials(tmp_path, {"default": ONE})
    path.write_text(path.read_text() + "\n" + profile_text("999999999999", TWO))
    assert raw_config_parse(str(path)) == {"default": as_read(ONE), "999999999999": as_read(TWO)}


@pytest.mark.parametrize("name", ["", "a]b", "a\nb", "a b", "x" * 65])
def test_a_name_that_the_file_cannot_hold_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="A profile's name") as caught:
        profile_text(name, ONE)
    assert "secret-one" not in caught.value.message


def test_a_file_that_cannot_be_written_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be written: No such file"):
        write_credentials(tmp_path / "absent", {"default": ONE})
