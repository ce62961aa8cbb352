"""Where functions see the authorities that vouch for databases."""

from __future__ import annotations

import os
from pathlib import Path

from turnlock.functions.runtime import authorities


def test_a_file_is_seen_where_lambdas_images_have_theirs_and_not_where_it_lies(tmp_path: Path) -> None:
    file = tmp_path / "authorities.pem"
    shown = {place["target"]: place["source"] for place in authorities.places(file)}
    assert shown["/etc/pki/tls/cert.pem"] == shown["/etc/ssl/certs/ca-bundle.crt"] == str(file)
    assert str(file) not in shown, "the path to it is the data directory's"
    assert not any(place["writable"] for place in authorities.places(file))


def test_a_file_that_was_written_anew_has_another_stamp(tmp_path: Path) -> None:
    file = tmp_path / "authorities.pem"
    stamps = [authorities.stamp(None), authorities.stamp(file)]
    for number in range(2):
        file.write_text("the same")
        os.utime(file, ns=(number, number))
        stamps.append(authorities.stamp(file))
    assert stamps[:2] == ["", ""]
    assert len(set(stamps)) == 3
