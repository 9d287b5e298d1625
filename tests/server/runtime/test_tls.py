"""Unusable certificates and keys: an error at start; after a change the old ones stay in use."""

import os
from pathlib import Path

import pytest
from stylewire_server.runtime.tls import TlsError, TlsFiles


def test_a_pair_that_fits_is_taken(authority) -> None:
    TlsFiles(*authority.issue("server"), authority.certificate).credentials()


def test_a_key_of_another_certificate_is_refused(authority) -> None:
    certificate, _ = authority.issue("server")
    _, key = authority.issue("other")
    with pytest.raises(TlsError, match="certificate and key do not fit"):
        TlsFiles(certificate, key)


def test_text_is_no_certificate(authority, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("not a certificate")
    certificate, key = authority.issue("server")
    with pytest.raises(TlsError, match="certificate and key do not fit"):
        TlsFiles(tmp_path / "text", key)
    with pytest.raises(TlsError, match="the client CA has no certificate"):
        TlsFiles(certificate, key, tmp_path / "text")


def test_a_missing_file_is_told_without_its_path(authority, tmp_path: Path) -> None:
    certificate, key = authority.issue("server")
    for paths in [
        (tmp_path / "none", key, None),
        (certificate, tmp_path / "none", None),
        (certificate, key, tmp_path / "none"),
    ]:
        with pytest.raises(TlsError, match="No such file") as caught:
            TlsFiles(*paths)
        assert str(tmp_path) not in str(caught.value)


def test_a_broken_change_leaves_the_old_pair_and_a_whole_one_is_taken(authority) -> None:
    certificate, key = authority.issue("server")
    files = TlsFiles(certificate, key)
    assert files._changed() is None
    fresh_certificate, fresh_key = authority.issue("fresh")
    certificate.write_bytes(fresh_certificate.read_bytes())
    assert files._changed() is None, "half of the change is there"
    with pytest.raises(TlsError):
        files.reload()
    key.write_bytes(fresh_key.read_bytes())
    assert files._changed() is not None
    assert files._changed() is None


def test_a_reload_reaches_the_next_connection_though_the_files_look_the_same(authority) -> None:
    certificate, key = authority.issue("server")
    files = TlsFiles(certificate, key)
    stamp = certificate.stat()
    os.utime(certificate, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    files.reload()
    assert files._changed() is not None
