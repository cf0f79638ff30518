"""`make install-device` into a folder: what it writes, what it asks, what it leaves alone."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from meterd import config

ROOT = Path(__file__).parents[1]
INSTALL = ROOT / "tools" / "install.sh"
COMMAND_LINE = "console=tty1 root=PARTUUID=4e639091-02 rootfstype=ext4 cfg80211.ieee80211_regdom=MX"
CONFIG_TXT = """# For more options see the documentation
#dtparam=i2c_arm=on
#dtparam=spi=on
dtparam=audio=on

[cm4]
otg_mode=1
dtparam=spi=on
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The root of a Raspberry Pi OS, as far as the installation looks at it."""
    boot = tmp_path / "root" / "boot" / "firmware"
    boot.mkdir(parents=True)
    (boot / "cmdline.txt").write_text(COMMAND_LINE + "\n")
    (boot / "config.txt").write_text(CONFIG_TXT)
    return tmp_path / "root"


def install(
    root: Path, command: str = "install-device", *, answer: str = "", **environment: str
) -> str:
    done = subprocess.run(
        [str(INSTALL), command, "--no-pip"],
        input=answer,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DESTDIR": str(root), **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    return done.stdout


def refused(root: Path, **environment: str) -> str:
    """What an installation that does not succeed says."""
    done = subprocess.run(
        [str(INSTALL), "install-device", "--no-pip"],
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DESTDIR": str(root), **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    return done.stderr


def snapshot(root: Path) -> dict[str, tuple[int, int, bytes]]:
    """Mode, time of change and content of every file."""
    return {
        str(path.relative_to(root)): (
            path.stat().st_mode,
            path.stat().st_mtime_ns,
            path.read_bytes() if path.is_file() else b"",
        )
        for path in sorted(root.rglob("*"))
    }


def test_the_first_run_writes_units_folders_configuration_and_boot_files(root: Path) -> None:
    said = install(root, ASSUME_YES="1", SERIAL="MX-000042")
    for unit in ("meterd", "meterd-sync"):
        written = root / "etc" / "systemd" / "system" / f"{unit}.service"
        assert written.read_bytes() == (ROOT / "systemd" / f"{unit}.service").read_bytes()
    for kind in ("sysusers", "tmpfiles"):
        assert (root / "etc" / f"{kind}.d" / "meterd.conf").exists()
    assert (root / "etc" / "meterd" / "keys").stat().st_mode & 0o777 == 0o700
    assert config.load(root / "etc" / "meterd" / "meterd.toml").meter.serial == "MX-000042"
    assert (root / "boot/firmware/cmdline.txt").read_text() == (
        f"{COMMAND_LINE} spidev.bufsiz=65536\n"
    )
    assert "A reboot is needed." in said
    assert "no key was made" in said


def test_the_second_run_changes_nothing(root: Path) -> None:
    install(root, ASSUME_YES="1")
    before = snapshot(root)
    said = install(root)
    assert snapshot(root) == before
    assert "wrote" not in said
    assert "reboot" not in said


@pytest.mark.parametrize("answer", ["", "\n", "n\n", "maybe\n"])
def test_without_a_yes_the_boot_files_stay_and_the_rest_is_installed(
    root: Path, answer: str
) -> None:
    before = snapshot(root / "boot")
    said = install(root, answer=answer)
    assert snapshot(root / "boot") == before
    assert "[y/N]" in said
    assert "left untouched" in said
    assert (root / "etc/systemd/system/meterd.service").exists()


def test_a_yes_is_enough(root: Path) -> None:
    install(root, answer="y\n")
    assert "spidev.bufsiz" in (root / "boot/firmware/cmdline.txt").read_text()


def test_a_configuration_that_is_there_is_kept(root: Path) -> None:
    place = root / "etc" / "meterd" / "meterd.toml"
    place.parent.mkdir(parents=True)
    place.write_text("# mine\n")
    install(root, ASSUME_YES="1", SERIAL="MX-000042")
    assert place.read_text() == "# mine\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a=1 b", "a=1 b spidev.bufsiz=65536"),
        ("a spidev.bufsiz=4096 b", "a b spidev.bufsiz=65536"),
        ("a spidev.bufsiz=65536 b", None),
        ("a spidev.bufsiz=131072", None),
        ("a\r", "a spidev.bufsiz=65536"),
        ("a * b", "a * b spidev.bufsiz=65536"),
    ],
)
def test_the_command_line_stays_one_line_with_one_value_that_suffices(
    root: Path, before: str, after: str | None
) -> None:
    place = root / "boot" / "firmware" / "cmdline.txt"
    for end in ("\n", ""):
        place.write_bytes((before + end).encode())
        install(root, ASSUME_YES="1")
        assert place.read_bytes().decode() == (before + end if after is None else after + "\n")


def test_a_command_line_of_two_lines_is_not_touched(root: Path) -> None:
    place = root / "boot" / "firmware" / "cmdline.txt"
    place.write_text("a\nb\n")
    assert "not one line" in refused(root, ASSUME_YES="1")
    assert place.read_text() == "a\nb\n"


@pytest.mark.parametrize(
    ("before", "added"),
    [
        (CONFIG_TXT, ["spi", "i2c_arm"]),
        ("dtparam=spi=on\n", ["i2c_arm"]),
        ("dtparam=spi=on,i2c_arm=on\n", []),
        ("dtparam=spi=on\ndtparam=i2c_arm=on\ndtparam=spi=off\n", ["spi"]),
        ("dtparam=i2c_arm=on\n[cm4]\ndtparam=spi=on\n", ["spi"]),
        ("[cm4]\n[all]\ndtparam=spi=on\r\ndtparam=i2c_arm=on\r\n", []),
    ],
)
def test_the_buses_are_switched_on_for_every_pi_where_they_are_not(
    root: Path, before: str, added: list[str]
) -> None:
    place = root / "boot" / "firmware" / "config.txt"
    place.write_bytes(before.encode())
    install(root, ASSUME_YES="1")
    after = place.read_bytes().decode()
    assert after.startswith(before)
    expected = ["[all]", *(f"dtparam={name}=on" for name in added)] if added else []
    rest = [line for line in after[len(before) :].split("\n") if line and line[0] != "#"]
    assert rest == expected


def test_an_older_system_keeps_its_boot_files_elsewhere(root: Path) -> None:
    for name in ("cmdline.txt", "config.txt"):
        (root / "boot" / "firmware" / name).rename(root / "boot" / name)
    install(root, ASSUME_YES="1")
    assert "spidev.bufsiz=65536" in (root / "boot" / "cmdline.txt").read_text()


def test_another_computer_is_told_that_the_buses_stay_as_they_are(tmp_path: Path) -> None:
    assert "no boot files of a Raspberry Pi" in install(tmp_path)


def test_a_serial_that_the_meter_would_refuse_is_refused(root: Path) -> None:
    assert "SERIAL" in refused(root, SERIAL='x"; rm')
    assert not (root / "etc/meterd/meterd.toml").exists()


METERCTL = """#!/bin/sh
[ "$1 $2" = "key create" ] || exit 2
case $3 in --help) exit 0 ;; --folder) umask >"$4/mask"; echo secret >"$4/key-1" ;; esac
"""


def test_a_key_is_made_once_where_there_is_none_and_readable_by_root_alone(root: Path) -> None:
    program = root / "opt" / "meterd" / "bin" / "meterctl"
    program.parent.mkdir(parents=True)
    program.write_text(METERCTL)
    program.chmod(0o755)
    assert "run the installation on the meter itself" in install(root)
    assert "made a signing key" in install(root, MAKE_KEY="yes")
    key = root / "etc" / "meterd" / "keys" / "key-1"
    assert key.stat().st_mode & 0o777 == 0o600
    before = snapshot(key.parent)
    assert "key" not in install(root, MAKE_KEY="yes")
    assert snapshot(key.parent) == before


def test_uninstalling_takes_programs_and_units_and_keeps_what_cannot_be_replaced(
    root: Path,
) -> None:
    install(root, ASSUME_YES="1")
    kept = {
        "etc/meterd/keys/key-1": "secret",
        "var/lib/meterd/readings.db": "readings",
        "etc/meterd/calibration.toml": "calibration",
    }
    for name, text in kept.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (root / "opt/meterd/bin").mkdir(parents=True, exist_ok=True)
    said = install(root, "uninstall-device")
    for name, text in kept.items():
        assert (root / name).read_text() == text
    assert (root / "etc/meterd/meterd.toml").exists()
    assert not (root / "opt/meterd").exists()
    assert not list((root / "etc/systemd/system").iterdir())
    for path in ("/var/lib/meterd", "/etc/meterd"):
        assert path in said
    install(root, "uninstall-device")


def test_meter_and_server_on_one_computer_share_the_programs_until_the_last_goes(
    root: Path,
) -> None:
    (root / "opt/meterd/bin").mkdir(parents=True)
    install(root, ASSUME_YES="1")
    install(root, "install-server")
    assert "stays" in install(root, "uninstall-device")
    assert (root / "opt/meterd").exists()
    assert (root / "etc/systemd/system/meterd-server.service").exists()
    install(root, "uninstall-server")
    assert not (root / "opt/meterd").exists()


def test_the_example_configuration_is_right_and_its_comments_are_the_defaults(
    tmp_path: Path,
) -> None:
    example = ROOT / "systemd" / "meterd.toml"
    everything = tmp_path / "meterd.toml"
    everything.write_text(re.sub(r"^#(\w+ = )", r"\1", example.read_text(), flags=re.MULTILINE))
    assert everything.read_text() != example.read_text()
    assert config.load(everything) == config.load(example)


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="apt-get install shellcheck")
def test_shellcheck_has_nothing_to_say_of_the_scripts() -> None:
    scripts = [*map(str, (ROOT / "tools").glob("*.sh")), str(ROOT / ".ci" / "run")]
    done = subprocess.run(["shellcheck", *scripts], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_the_programs_are_built_into_a_folder_and_run_where_it_will_be_the_root(
    root: Path,
) -> None:
    done = subprocess.run(
        [str(INSTALL), "install-device"],
        env={"PATH": "/usr/local/bin:/usr/bin:/bin", "DESTDIR": str(root), "ASSUME_YES": "1"},
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    programs = root / "opt" / "meterd" / "bin"
    for name in ("meterd", "meterd-sync", "meterctl"):
        assert (programs / name).read_text().startswith("#!/opt/meterd/bin/python")
    told = subprocess.run(
        [str(programs / "python"), str(programs / "meterd"), "--version"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert told.returncode == 0, told.stderr
    assert "version" in told.stdout
