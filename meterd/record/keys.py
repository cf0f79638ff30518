"""The files of the keys that a meter signs with: ``signing-1.key``, ``signing-2.key``, …

The highest number signs. The others stay, so that the change from one to the next can be signed by
both. Under systemd the files are root's and reach meterd alone, as credentials; elsewhere they lie
in the meter's own folder.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from meterd.errors import KeyUnusableError
from meterd.record.signing import SigningKey, load_private, new_key, private_pem

FOLDER_NAME = "keys"
KEYS_MAX = 100
KEY_BYTES_MAX = 4096
_NAME = re.compile(r"(?:keys_)?signing-([0-9]{1,4})\.key")


def key_folder(state_dir: Path, configuration_dir: Path, environment: Mapping[str, str]) -> Path:
    """Where the keys are: systemd's credentials, or beside the configuration, or our own folder.

    Raises:
        KeyUnusableError: the folder beside the configuration is there and is not ours to read.
    """
    given = environment.get("CREDENTIALS_DIRECTORY", "")
    if given and _numbered(Path(given)):
        return Path(given)
    beside = configuration_dir / FOLDER_NAME
    return beside if _numbered(beside) else state_dir / FOLDER_NAME


def load_keys(folder: Path) -> list[SigningKey]:
    """The keys in ``folder`` by their numbers; empty where there is none.

    Raises:
        KeyUnusableError: a file can be read by others, not by us, or is no key.
    """
    return [_load(path) for _, path in sorted(_numbered(folder).items())]


def create_key(folder: Path) -> tuple[Path, SigningKey]:
    """Make the next key in ``folder``, readable by its owner alone, and flush it to the disk.

    Raises:
        KeyUnusableError: the disk refuses, or there are too many.
    """
    known = _numbered(folder)
    number = max(known, default=0) + 1
    if number > KEYS_MAX:
        raise KeyUnusableError(f"{folder} holds {len(known)} keys: move the oldest away")
    path = folder / f"signing-{number}.key"
    key = new_key()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            _give_to_owner_of(folder.parent, folder, descriptor)
            os.write(descriptor, private_pem(key))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        beside = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(beside)
        finally:
            os.close(beside)
    except OSError as error:
        raise KeyUnusableError(f"cannot make {path}: {error.strerror}: check the folder") from error
    return path, key


def load_or_create(folder: Path) -> list[SigningKey]:
    """The keys in ``folder``; the first is made where there is none.

    Raises:
        KeyUnusableError: see :func:`load_keys` and :func:`create_key`.
    """
    return load_keys(folder) or [create_key(folder)[1]]


def _give_to_owner_of(parent: Path, folder: Path, descriptor: int) -> None:
    """What root makes in the meter's folder is the meter's."""
    if os.geteuid() == 0:
        owner = parent.stat()
        os.chown(folder, owner.st_uid, owner.st_gid)
        os.fchown(descriptor, owner.st_uid, owner.st_gid)


def _numbered(folder: Path) -> dict[int, Path]:
    try:
        found = [(_NAME.fullmatch(path.name), path) for path in folder.iterdir()]
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise KeyUnusableError(
            f"cannot read {folder}: {error.strerror}: run this as root"
        ) from error
    return {int(match[1]): path for match, path in found if match}


def _load(path: Path) -> SigningKey:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(KEY_BYTES_MAX)
    except OSError as error:
        raise KeyUnusableError(f"cannot read {path}: {error.strerror}: check its owner") from error
    if mode & 0o077 and not path.name.startswith("keys_"):
        raise KeyUnusableError(
            f"{path} can be read by others (mode {mode & 0o777:o}): whoever has it can sign in "
            f"this meter's name; run: chmod 600 {path}; if others may have read it, make another: "
            "meterctl key create"
        )
    return load_private(content, str(path))
