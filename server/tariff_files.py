"""The tariffs that come with the server, or that lie in a folder of the operator's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from meterd_tariff.errors import TariffError
from meterd_tariff.tariff import FILE_BYTES_MAX, Tariff, decode, version
from server.errors import NotFoundError, SettingError

FOLDER = Path(__file__).parent / "tariffs"


@dataclass(frozen=True, slots=True)
class TariffFile:
    """A tariff with the bytes that it was read from and what identifies them."""

    tariff: Tariff
    version: str
    content: bytes


def load(folder: Path = FOLDER) -> dict[str, TariffFile]:
    """Every tariff in a folder, by its code.

    Raises:
        SettingError: a file is no tariff, or two have one code.
    """
    found: dict[str, TariffFile] = {}
    for path in sorted(folder.glob("*.toml")):
        try:
            with path.open("rb") as file:
                content = file.read(FILE_BYTES_MAX + 1)
            tariff = decode(content)
        except (OSError, TariffError) as error:
            raise SettingError(f"{path.name}: {error}") from error
        if tariff.code in found:
            raise SettingError(f"{path.name}: there is a tariff {tariff.code} already")
        found[tariff.code] = TariffFile(tariff, version(content), content)
    return found


def named(tariffs: dict[str, TariffFile], code: str) -> TariffFile:
    """The tariff of a code.

    Raises:
        NotFoundError: there is none.
    """
    if code not in tariffs:
        raise NotFoundError(f"there is no tariff {code!r}: see `meterd-server tariffs`")
    return tariffs[code]
