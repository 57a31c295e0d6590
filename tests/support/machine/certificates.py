"""Certificates of a certificate authority that only a test knows."""

import ssl
import subprocess
from pathlib import Path

import pytest


def own_authority(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """Return the file of a new authority, and the context of a server whose name, 127.0.0.1, it vouches for."""
    authority, key, request, cert, extension = (
        folder / name for name in ("ca.pem", "ca.key", "own.csr", "own.pem", "own.ext")
    )
    own_key = folder / "own.key"
    extension.write_text("subjectAltName=IP:127.0.0.1\n")
    commands = (
        ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=Test CA",
         "-keyout", key, "-out", authority],
        ["req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=127.0.0.1", "-keyout", own_key, "-out", request],
        ["x509", "-req", "-in", request, "-CA", authority, "-CAkey", key, "-CAcreateserial", "-days", "2",
         "-extfile", extension, "-out", cert],
    )  # fmt: skip
    for command in commands:
        try:
            made = subprocess.run(["openssl", *map(str, command)], capture_output=True, check=False)
        except FileNotFoundError:
            pytest.skip("needs openssl to make a certificate")
        assert made.returncode == 0, made.stderr.decode()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, own_key)
    return authority, context
