#!/bin/sh
# Installs meter or server into /opt/meterd with their units, and takes them away again.
#
#   sudo make install-device      what it changes is said; the boot files are asked about first
#   sudo make uninstall-device    data, configuration and keys stay
#   sudo make install-server, uninstall-server
#
# Safe to repeat: that is how a new version is installed.
#   DESTDIR=folder    into a folder: no systemctl, no users, no key unless MAKE_KEY=yes
#   ASSUME_YES=1      asks nothing
#   SERIAL=MX-000042  the meter's serial, for a configuration that is made new
#   PIP_ARGS=...      for pip install;  --no-pip  leaves /opt/meterd as it is
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
root=${DESTDIR:-}
root=${root%/}
opt=/opt/meterd
bufsiz=65536
reboot=

say() { printf '%s\n' "$*"; }
fail() { say "$*" >&2; exit 1; }
live() { [ -z "$root" ]; }

require_root() {
    if live && [ "$(id -u)" != 0 ]; then
        fail "This installs for the whole machine: sudo make $command"
    fi
}

agreed() {
    [ "${ASSUME_YES:-}" != 1 ] || return 0
    printf '%s [y/N] ' "$1"
    read -r answer || answer=
    case $answer in [yY] | [yY][eE][sS]) return 0 ;; *) return 1 ;; esac
}

# put MODE FROM TO: only what differs is written, and said.
put() {
    if ! cmp -s "$2" "$root$3"; then
        install -D -m "$1" "$2" "$root$3"
        say "wrote $3"
    fi
}

# Standard input becomes the file, whole or not at all.
replace_with_stdin() {
    cat >"$1.meterd-new"
    mv "$1.meterd-new" "$1"
}

# programs EXTRA: the virtual environment, from a copy, so that pip leaves nothing in the checkout.
programs() {
    [ "$pip" = yes ] || return 0
    python=$("$here/tools/preflight.sh") || exit 1
    copy=$(mktemp -d)
    cp -R "$here/setup.cfg" "$here/pyproject.toml" "$here/README.md" "$here/LICENSE" \
        "$here/meterd" "$here/meterd_journal" "$here/server" "$copy"
    "$root$opt/bin/python" -m pip --version >/dev/null 2>&1 || "$python" -m venv --clear "$root$opt"
    say "Installing the programs into $opt (some minutes on a Raspberry Pi)"
    # shellcheck disable=SC2086  # a list of words
    "$root$opt/bin/python" -m pip install --quiet --disable-pip-version-check ${PIP_ARGS:-} \
        "$copy$1"
    live || relocate
}

# The scripts of an environment made in a folder begin with the folder's name.
relocate() {
    for script in "$root$opt"/bin/*; do
        if [ -f "$script" ] && [ ! -L "$script" ] && head -c 2 "$script" | grep -q '#!'; then
            sed -i "1s|$root$opt|$opt|" "$script"
        fi
    done
}

extra_of_device() {
    if grep -q '^relay =' "$here/setup.cfg"; then echo '[relay]'; fi
}

# units NAME UNIT...: a user, its folders and its units.
units() {
    name=$1
    shift
    put 644 "$here/systemd/$name.sysusers.conf" "/etc/sysusers.d/$name.conf"
    put 644 "$here/systemd/$name.tmpfiles.conf" "/etc/tmpfiles.d/$name.conf"
    for unit; do
        put 644 "$here/systemd/$unit.service" "/etc/systemd/system/$unit.service"
    done
    if live; then
        systemd-sysusers "/etc/sysusers.d/$name.conf"
        systemd-tmpfiles --create "/etc/tmpfiles.d/$name.conf"
        systemctl daemon-reload
    fi
}

# The serial that was asked for, else the Pi's own, of which there is one in the world.
serial() {
    board=/sys/firmware/devicetree/base/serial-number
    if [ -n "${SERIAL:-}" ]; then
        printf '%s' "$SERIAL"
    elif live && [ -r "$board" ]; then
        printf 'PI-%s' "$(tr -d '\0' <"$board" | tail -c 12)"
    else
        printf 'MX-000001'
    fi
}

configuration() {
    install -d -m 755 "$root/etc/meterd"
    [ ! -e "$root/etc/meterd/meterd.toml" ] || return 0
    chosen=$(serial)
    case $chosen in *[!A-Za-z0-9._-]*) fail "SERIAL=$chosen: use A-Z a-z 0-9 . _ -" ;; esac
    sed "s/^serial = .*/serial = \"$chosen\"/" "$here/systemd/meterd.toml" |
        replace_with_stdin "$root/etc/meterd/meterd.toml"
    chmod 644 "$root/etc/meterd/meterd.toml"
    say "wrote /etc/meterd/meterd.toml, serial $chosen: look through it"
}

# The first signing key. One in an image would be the key of every meter made from it.
first_key() {
    keys=$root/etc/meterd/keys
    install -d -m 700 "$keys"
    if [ -n "$(ls -A "$keys")" ]; then return 0; fi
    if ! live && [ "${MAKE_KEY:-}" != yes ]; then
        say 'no key was made: run the installation on the meter itself, too'
    elif ! "$root$opt/bin/meterctl" key create --help >/dev/null 2>&1; then
        say 'no key was made: this version of meterctl does not know "key create"'
    else
        (umask 077 && "$root$opt/bin/meterctl" key create --folder "$keys")
        say 'made a signing key in /etc/meterd/keys'
    fi
}

# The last word of config.txt on a parameter, of the sections that hold for every Pi.
parameter() {
    awk -v wanted="$1" '
        { sub(/\r$/, "") }
        /^\[/ { all = ($0 == "[all]"); other = !all; next }
        !other && /^dtparam=/ {
            count = split(substr($0, 9), words, ",")
            for (i = 1; i <= count; i++)
                if (index(words[i], wanted "=") == 1) value = substr(words[i], length(wanted) + 2)
        }
        END { print value }' "$2"
}

lacking_parameters() {
    for name in spi i2c_arm; do
        [ "$(parameter "$name" "$1")" = on ] || printf '%s ' "$name"
    done
}

bufsiz_lacks() {
    now=$(tr -d '\r' <"$1" | tr ' ' '\n' | sed -n 's/^spidev\.bufsiz=\([0-9]*\)$/\1/p' | tail -n 1)
    [ "${now:-0}" -lt "$bufsiz" ]
}

# SPI, I2C, and a buffer for 511 conversions a call: asked about, then written.
boot_files() {
    boot=$root/boot/firmware
    [ -e "$boot/cmdline.txt" ] || boot=$root/boot
    if [ ! -e "$boot/cmdline.txt" ] || [ ! -e "$boot/config.txt" ]; then
        say 'no boot files of a Raspberry Pi here: SPI and I2C are as they were'
        return 0
    fi
    parameters=$(lacking_parameters "$boot/config.txt")
    options=
    if bufsiz_lacks "$boot/cmdline.txt"; then options=spidev.bufsiz=$bufsiz; fi
    [ -n "$parameters$options" ] || return 0
    if [ -n "$options" ] && [ "$(grep -c . "$boot/cmdline.txt")" != 1 ]; then
        fail "${boot#"$root"}/cmdline.txt is not one line: not touched; correct it first"
    fi
    say "In ${boot#"$root"} the meter wants: ${parameters:+config.txt dtparam ${parameters}on; }${options:+cmdline.txt $options}"
    if ! agreed 'Write it?'; then
        say 'left untouched: see docs/hardware.md, "Switching the buses on"'
        return 0
    fi
    switch_buses_on
    [ -z "$options" ] || lengthen_command_line
    reboot=yes
}

switch_buses_on() {
    [ -n "$parameters" ] || return 0
    if live && command -v raspi-config >/dev/null; then
        raspi-config nonint do_spi 0
        raspi-config nonint do_i2c 0
        return 0
    fi
    {
        cat "$boot/config.txt"
        printf '\n# For meterd\n[all]\n'
        for name in $parameters; do say "dtparam=$name=on"; done
    } | replace_with_stdin "$boot/config.txt"
    say "wrote ${boot#"$root"}/config.txt"
}

# Other options stay where they are; an older, smaller value of ours goes.
lengthen_command_line() {
    line=
    for word in $(tr -d '\r' <"$boot/cmdline.txt"); do
        case $word in spidev.bufsiz=*) ;; *) line="$line$word " ;; esac
    done
    say "$line$options" | replace_with_stdin "$boot/cmdline.txt"
    say "wrote ${boot#"$root"}/cmdline.txt"
}

start_device() {
    if ! live; then return 0; fi
    systemctl enable meterd
    sender=
    if grep -q '^ *server *= *"..*"' /etc/meterd/meterd.toml; then
        sender=meterd-sync
        systemctl enable "$sender"
    else
        say 'no [sync] server in /etc/meterd/meterd.toml: meterd-sync is not started'
    fi
    if [ -n "$reboot" ] || [ ! -e /dev/spidev0.0 ]; then
        say 'Reboot now (sudo reboot): the buses come with it, and the meter starts by itself.'
    else
        # shellcheck disable=SC2086  # none or one
        systemctl restart meterd $sender ||
            fail 'the meter did not start: journalctl -u meterd -n 20 has the reason'
        say 'The meter measures. No reboot is needed.'
    fi
}

install_device() {
    programs "$(extra_of_device)"
    configuration
    first_key
    # raspi-config does this, too; on other systems nothing would.
    printf 'i2c-dev\n' >"$list"
    put 644 "$list" /etc/modules-load.d/meterd.conf
    units meterd meterd meterd-sync
    set -f # words of cmdline.txt are no patterns
    boot_files
    set +f
    start_device
    if ! live && [ -n "$reboot" ]; then say 'A reboot is needed.'; fi
}

install_server() {
    # init may bring the database up to date, which is done to a server that stands still.
    if live && systemctl is-active --quiet meterd-server; then systemctl stop meterd-server; fi
    programs '[server]'
    units meterd-server meterd-server
    if live; then
        runuser -u meterd-server -- "$opt/bin/meterd-server" init \
            --database sqlite:////var/lib/meterd-server/meterd-server.db
        systemctl enable meterd-server
        systemctl restart meterd-server
    fi
}

# uninstall NAME OTHER UNIT...: programs stay while units of the other still need them.
uninstall() {
    name=$1 other=$2
    shift 2
    for unit; do
        if [ -e "$root/etc/systemd/system/$unit.service" ]; then
            if live; then systemctl disable --now "$unit"; fi
            rm "$root/etc/systemd/system/$unit.service"
        fi
    done
    rm -f "$root/etc/sysusers.d/$name.conf" "$root/etc/tmpfiles.d/$name.conf" \
        "$root/etc/modules-load.d/$name.conf"
    if live; then systemctl daemon-reload; fi
    if [ -e "$root/etc/systemd/system/$other.service" ]; then
        say "$opt stays: $other needs it"
    else
        rm -rf "$root$opt"
    fi
}

command=${1:-}
pip=yes
[ "${2:-}" != --no-pip ] || pip=no
list=$(mktemp)
copy=
trap 'rm -rf "$list" "$copy"' EXIT
require_root
case $command in
install-device) install_device ;;
install-server) install_server ;;
uninstall-device)
    uninstall meterd meterd-server meterd-sync meterd
    say 'Kept: /var/lib/meterd (readings), /etc/meterd (configuration, calibration, keys), the user'
    say 'meterd whose they are, and the boot files.'
    ;;
uninstall-server)
    uninstall meterd-server meterd meterd-server
    say 'Kept: /var/lib/meterd-server (the database) and the user meterd-server whose it is.'
    ;;
*) fail "usage: $0 install-device|uninstall-device|install-server|uninstall-server [--no-pip]" ;;
esac
