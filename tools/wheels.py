"""Does every dependency of the meter come as a wheel for a 64-bit Raspberry Pi OS?

    make wheels

pip resolves what setup.cfg asks of the device, with all that it brings, as if it ran on aarch64:
Debian 12's Python 3.11 and Debian 13's 3.13. spidev has no wheel: it is small C and compiles.
lgpio, which only a meter with a relay needs, has one for 3.11 and none for 3.13.
"""

from __future__ import annotations

import configparser
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
COMPILED = ("spidev", "lgpio")
"""What is compiled on the Pi, and so asked for nowhere here."""
PYTHONS = {"3.11": "manylinux_2_36", "3.13": "manylinux_2_41"}
"""Each system's Python with its C library: Debian 12 has 2.36, Debian 13 has 2.41."""
OLDEST_GLIBC = 17
EXTRAS = ("relay",)
"""Of the extras, those that a meter may install."""


def device_requirements(setup_cfg: Path) -> list[str]:
    """What setup.cfg asks of a meter, without what is compiled."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(setup_cfg, encoding="utf-8")
    asked = parser["options"]["install_requires"].splitlines()
    for extra in EXTRAS:
        asked += parser["options.extras_require"].get(extra, "").splitlines()
    wanted = [line.strip() for line in asked if line.strip() and not line.startswith("#")]
    return [line for line in wanted if name(line) not in COMPILED]


def name(requirement: str) -> str:
    """The package that a requirement asks for, as indexes spell it."""
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert found, requirement
    return re.sub(r"[-_.]+", "-", found[0]).lower()


def platforms(newest: str) -> list[str]:
    """Every platform tag whose wheels run with this C library, on aarch64."""
    last = int(newest.rsplit("_", 1)[1])
    tags = [f"manylinux_2_{minor}_aarch64" for minor in range(last, OLDEST_GLIBC - 1, -1)]
    return [*tags, "manylinux2014_aarch64"]


def resolve(requirements: list[str], python: str) -> list[str]:
    """File names of the wheels that pip would install; raises CalledProcessError if it cannot."""
    abi = "cp" + python.replace(".", "")
    with tempfile.TemporaryDirectory() as folder:
        report, target = Path(folder, "report.json"), Path(folder, "target")
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run"]
        command += ["--disable-pip-version-check", "--ignore-installed", "--only-binary=:all:"]
        command += ["--target", str(target), "--report", str(report)]
        command += ["--python-version", python, "--implementation", "cp"]
        command += ["--abi", abi, "--abi", "abi3", "--abi", "none"]
        for platform in platforms(PYTHONS[python]):
            command += ["--platform", platform]
        subprocess.run([*command, *requirements], check=True)
        found = json.loads(report.read_text(encoding="utf-8"))["install"]
    return sorted(item["download_info"]["url"].rsplit("/", 1)[1] for item in found)


def main() -> int:
    """Print each wheel; exit status 1 where a dependency has none."""
    requirements = device_requirements(ROOT / "setup.cfg")
    for python in PYTHONS:
        try:
            wheels = resolve(requirements, python)
        except subprocess.CalledProcessError:
            print(f"Python {python} on aarch64: not every dependency has a wheel, see above")
            return 1
        built = [wheel for wheel in wheels if not wheel.endswith("-none-any.whl")]
        for wheel in wheels:
            print(f"  {wheel}")
        print(
            f"Python {python} on aarch64: {len(requirements)} asked for, {len(wheels)} with all "
            f"they bring, every one a wheel; {len(built)} of them for aarch64"
        )
    print(f"compiled on the Pi: {', '.join(COMPILED)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
