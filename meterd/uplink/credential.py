"""What the server knows this meter by: a file that only its user can read."""

from __future__ import annotations

import os
import re
from contextlib import closing
from pathlib import Path

import requests

from meterd.config import CREDENTIAL_NAME, Config
from meterd.errors import ConfigError
from meterd.uplink.exchange import Exchange, over_http
from meterd.uplink.protocol import post_claim

_CREDENTIAL = re.compile(r"[A-Za-z0-9._-]{1,200}")


def load_credential(state_dir: Path) -> str:
    """The credential in ``state_dir``.

    Raises:
        ConfigError: it is missing, not ours to read, readable by others, or not a credential.
    """
    path = state_dir / CREDENTIAL_NAME
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(1024)
    except FileNotFoundError as error:
        raise ConfigError(
            f"there is no {path}: this meter was not claimed yet; get a claim code from the "
            "server's operator and run: meterctl claim CODE"
        ) from error
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}: check its owner") from error
    if mode & 0o077:
        raise ConfigError(
            f"{path} can be read or written by others (mode {mode & 0o777:o}): whoever has it can "
            f"send readings in this meter's name; run: chmod 600 {path}; if others may have read "
            "it, claim the meter again"
        )
    found = content.decode("ascii", errors="replace").strip()
    if not _CREDENTIAL.fullmatch(found):
        raise ConfigError(f"{path} does not hold a credential: run: meterctl claim CODE")
    return found


def claim_over_http(config: Config, code: str) -> str:
    """:func:`claim` with the configured server, for the configured meter.

    Raises:
        ConfigError: there is no server, or the file cannot be written.
        ServerRefusedError: the code is wrong, used, expired or another meter's.
        ServerUnavailableError: no usable answer; the code may have been used up.
    """
    if not config.sync.server:
        raise ConfigError("[sync] server is empty: write the server's address there first")
    with closing(requests.Session()) as session:
        exchange = over_http(config.sync.server, session, timeout_s=config.sync.timeout_s)
        return claim(exchange, code, config.meter.serial, config.meter.state_dir)


def claim(exchange: Exchange, code: str, serial: str, state_dir: Path) -> str:
    """Change a claim code for a credential, keep it in ``state_dir`` and return it.

    The file is made before the server is asked: a code is good once, and a disk that refuses
    must not use it up.

    Raises:
        ConfigError: the file cannot be written.
        ServerRefusedError: the code is wrong, used, expired or another meter's.
        ServerUnavailableError: no usable answer; the code may have been used up.
    """
    path = state_dir / CREDENTIAL_NAME
    beside = state_dir / (CREDENTIAL_NAME + ".new")
    try:
        descriptor = _create(beside, state_dir)
        try:
            credential = post_claim(exchange, code, serial).credential
            os.write(descriptor, credential.encode() + b"\n")
            os.fsync(descriptor)
            beside.replace(path)
        finally:
            os.close(descriptor)
            beside.unlink(missing_ok=True)
        _flush_folder(state_dir)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}: check its folder") from error
    return credential


def _create(path: Path, state_dir: Path) -> int:
    """A new file for the folder's owner alone, also where root claims in the meter's name."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    if os.geteuid() == 0:
        owner = state_dir.stat()
        os.fchown(descriptor, owner.st_uid, owner.st_gid)
    return descriptor


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
