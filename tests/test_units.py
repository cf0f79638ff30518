"""The units: what systemd itself says of them, and what the design asks of each."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from configparser import RawConfigParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
UNITS = ROOT / "systemd"
EXPOSURE_MAX = {"meterd": 1.0, "meterd-sync": 1.5, "meterd-server": 1.0}
"""The gates of `systemd-analyze security`, 0 (nothing exposed) to 10."""


def needs(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(
        shutil.which(program) is None, reason=f"{program} is not here: apt-get install systemd"
    )


def lines(unit: str, key: str) -> list[str]:
    """Every value of a setting, in order."""
    text = (UNITS / f"{unit}.service").read_text()
    return re.findall(rf"^{key}=(.*)$", text, re.MULTILINE)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(arguments, capture_output=True, text=True, timeout=60)


@needs("systemd-analyze")
@pytest.mark.parametrize("unit", EXPOSURE_MAX)
def test_a_unit_exposes_no_more_than_its_gate_allows(unit: str) -> None:
    done = run(
        "systemd-analyze", "security", "--offline=true", "--no-pager", f"{UNITS}/{unit}.service"
    )
    found = re.search(rf"exposure level for {unit}\.service: ([\d.]+)", done.stdout + done.stderr)
    assert found, done.stdout + done.stderr
    assert float(found[1]) <= EXPOSURE_MAX[unit], done.stdout


@needs("systemd-analyze")
@pytest.mark.parametrize("unit", EXPOSURE_MAX)
def test_systemd_reads_a_unit_without_a_remark(unit: str, tmp_path: Path) -> None:
    # The programs are not installed here; nothing else is exchanged.
    text = re.sub(
        r"^ExecStart=\S+",
        "ExecStart=/bin/true",
        (UNITS / f"{unit}.service").read_text(),
        flags=re.MULTILINE,
    )
    (tmp_path / f"{unit}.service").write_text(text)
    done = run("systemd-analyze", "verify", "--man=no", str(tmp_path / f"{unit}.service"))
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@needs("systemd-sysusers")
@needs("systemd-tmpfiles")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files to other users")
def test_users_and_folders_are_made_as_the_units_need_them(tmp_path: Path) -> None:
    for kind in ("sysusers", "tmpfiles"):
        folder = tmp_path / "etc" / f"{kind}.d"
        folder.mkdir(parents=True)
        for file in UNITS.glob(f"*.{kind}.conf"):
            shutil.copy(file, folder / file.name.replace(f".{kind}", ""))
    (tmp_path / "etc" / "meterd" / "keys").mkdir(parents=True, mode=0o755)
    key = tmp_path / "etc" / "meterd" / "keys" / "key-1"
    key.write_text("secret")
    for command in (["systemd-sysusers"], ["systemd-tmpfiles", "--create"]):
        done = run(*command, f"--root={tmp_path}")
        assert done.returncode == 0, done.stderr
    users = (tmp_path / "etc" / "passwd").read_text()
    (meter,) = re.findall(r"^meterd:.*$", users, re.MULTILINE)
    assert meter.split(":")[5:] == ["/var/lib/meterd", "/usr/sbin/nologin"]
    assert "meterd-server:" in users
    groups = (tmp_path / "etc" / "group").read_text()
    for group in lines("meterd", "SupplementaryGroups")[0].split():
        assert re.search(rf"^{group}:.*\bmeterd\b", groups, re.MULTILINE), group
    state = (tmp_path / "var" / "lib" / "meterd").stat()
    assert (state.st_mode & 0o777, state.st_uid) == (0o700, int(meter.split(":")[2]))
    for path, mode in ((key, 0o600), (key.parent, 0o700)):
        assert (path.stat().st_mode & 0o777, path.stat().st_uid) == (mode, 0)


def test_the_meter_has_no_network_and_waits_for_none() -> None:
    assert lines("meterd", "PrivateNetwork") == ["yes"]
    assert lines("meterd", "RestrictAddressFamilies") == ["AF_UNIX"]
    for unit in ("meterd", "meterd-sync"):
        for key in ("After", "Wants", "Requires", "BindsTo"):
            assert lines(unit, key) == []


def test_the_meter_is_watched_and_started_again_for_ever() -> None:
    assert lines("meterd", "Type") == ["notify"]
    assert lines("meterd", "NotifyAccess") == ["main"]
    assert lines("meterd", "WatchdogSec") == ["10"]
    for unit in EXPOSURE_MAX:
        assert lines(unit, "Restart") == ["always"]
        assert lines(unit, "StartLimitIntervalSec") == ["0"]


def test_only_the_meter_sees_keys() -> None:
    assert lines("meterd", "LoadCredential") == ["keys:/etc/meterd/keys"]
    assert lines("meterd-sync", "LoadCredential") == []
    hidden = {path.lstrip("-") for path in lines("meterd-sync", "InaccessiblePaths")}
    assert hidden == {"/etc/meterd/keys", "/run/credentials"}
    # A user namespace of its own: no looking into meterd's memory in spite of the same user.
    assert lines("meterd-sync", "PrivateUsers") == ["yes"]
    for unit in ("meterd", "meterd-sync"):
        assert lines(unit, "LimitCORE") == ["0"]


def test_devices_are_the_two_buses_and_the_pins() -> None:
    assert lines("meterd", "DevicePolicy") == ["closed"]
    assert lines("meterd", "DeviceAllow") == [
        "/dev/spidev0.0 rw",
        "/dev/i2c-1 rw",
        "char-gpiochip rw",
    ]
    for unit in ("meterd-sync", "meterd-server"):
        assert lines(unit, "DeviceAllow") == []


def test_no_unit_has_a_capability() -> None:
    for unit in EXPOSURE_MAX:
        assert lines(unit, "CapabilityBoundingSet") == lines(unit, "AmbientCapabilities") == [""]


def test_every_line_of_a_unit_is_a_setting_in_a_section() -> None:
    for unit in EXPOSURE_MAX:
        parser = RawConfigParser(strict=False, delimiters=("=",), comment_prefixes=("#",))
        parser.read(UNITS / f"{unit}.service")
        assert parser.sections() == ["Unit", "Service", "Install"]
