"""What the server knows this meter by: a file that only its user can read."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import requests

from meterd.config import CREDENTIAL_NAME, Config
from meterd.control.signed import SERVER_KEY_NAME
from meterd.errors import ConfigError, KeyUnusableError, ServerUnavailableError
from meterd.record.signing import load_public
from meterd.uplink.exchange import Exchange, over_http
from meterd.uplink.protocol import Prover, post_claim

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


def claim_over_http(config: Config, code: str, prover: Prover | None = None) -> str:
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
        return claim(exchange, code, config.meter.serial, config.meter.state_dir, prover)


def claim(
    exchange: Exchange, code: str, serial: str, state_dir: Path, prover: Prover | None = None
) -> str:
    """Change a claim code for a credential, keep it in ``state_dir`` and return it.

    The files are made before the server is asked: a code is good once, and a disk that refuses
    must not use it up. Beside the credential the server's key is pinned; where the server names
    none, the one of an earlier claim is taken away and nothing of the server's is obeyed.
    ``prover`` shows that the meter has its key; None: it has none.

    Raises:
        ConfigError: the file cannot be written.
        ServerRefusedError: the code is wrong, used, expired or another meter's.
        ServerUnavailableError: no usable answer; the code may have been used up.
    """
    path, key_path = state_dir / CREDENTIAL_NAME, state_dir / SERVER_KEY_NAME
    beside, key_beside = (where.with_name(where.name + ".new") for where in (path, key_path))
    try:
        with (
            _created(beside, state_dir, 0o600) as file,
            _created(key_beside, state_dir, 0o644) as key_file,
        ):
            claimed = post_claim(exchange, code, serial, prover)
            _require_key(claimed.server_key)
            _write(key_file, claimed.server_key or "")
            _write(file, claimed.credential)
            # A cut between the two leaves a key without its credential, which obeys nobody.
            if claimed.server_key is None:
                key_path.unlink(missing_ok=True)
            else:
                key_beside.replace(key_path)
            beside.replace(path)
        _flush_folder(state_dir)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}: check its folder") from error
    return claimed.credential


def _require_key(server_key: str | None) -> None:
    if server_key is None:
        return
    try:
        load_public(server_key, "the server's key")
    except KeyUnusableError as error:
        raise ServerUnavailableError(f"the server's answer cannot be used: {error}") from error


def _write(descriptor: int, text: str) -> None:
    os.write(descriptor, text.encode() + b"\n")
    os.fsync(descriptor)


@contextmanager
def _created(path: Path, state_dir: Path, mode: int) -> Iterator[int]:
    """A new file that is gone at the end unless it was renamed."""
    descriptor = _create(path, state_dir, mode)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
        path.unlink(missing_ok=True)


def _create(path: Path, state_dir: Path, mode: int) -> int:
    """A new file of the folder's owner, also where root claims in the meter's name."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    os.fchmod(descriptor, mode)
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
