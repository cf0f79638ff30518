"""A command is the server's, this meter's, new and in time, or it is not acted on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from meterd.control.commands import Decision, Fate, decide
from meterd.database.downlink import SignedText
from meterd.errors import NotSignedError
from meterd.record import signing
from tests import signed_texts
from tests.signed_texts import NOW_UTC_S, SERIAL, SERVER, STRANGER


def judged(
    text: SignedText, known: tuple[str, ...] = (), now: float | None = NOW_UTC_S
) -> Decision:
    return decide(text, SERVER.public, SERIAL, known, now_utc_s=now, refusals={})


def test_a_command_of_the_server_for_this_meter_is_accepted() -> None:
    decision = judged(signed_texts.command("disconnect").signed)
    assert (decision.fate, decision.command.command) == (Fate.ACCEPT, "disconnect")


def test_each_flipped_bit_of_a_commands_text_is_refused() -> None:
    signed = signed_texts.command("disconnect").signed
    octets = signed.text.encode()
    flipped = 0
    for bit in range(8 * len(octets)):
        changed = bytearray(octets)
        changed[bit // 8] ^= 1 << bit % 8
        text = changed.decode("utf-8", errors="surrogateescape")
        with pytest.raises(NotSignedError):
            judged(replace(signed, text=text))
        flipped += 1
    assert flipped > 1000


@pytest.mark.parametrize(
    "text",
    [
        signed_texts.command(key=STRANGER).signed,
        replace(signed_texts.command(key=STRANGER).signed, key=SERVER.public.fingerprint),
        signed_texts.command(meter="MX-000002").signed,
        signed_texts.command(id="1").signed,
        signed_texts.command(type="receipt").signed,
        signed_texts.settings(3, {}).signed,
        replace(signed_texts.command().signed, signature=""),
        replace(signed_texts.command().signed, signature="é"),
    ],
    ids=["other key", "key named", "other meter", "id", "receipt", "settings", "none", "no base64"],
)
def test_what_is_no_command_of_the_server_for_this_meter_is_none(text: SignedText) -> None:
    with pytest.raises(NotSignedError):
        judged(text)


def test_a_receipt_with_the_fields_of_a_command_is_none() -> None:
    content = signed_texts.command_content("disconnect")
    receipt: dict[str, object] = {"type": "receipt", "stream": "0" * 32, "hwm": 3}
    receipt |= {name: value for name, value in content.items() if name != "type"}
    twice = signed_texts.sign(receipt).text[:-1] + ',"type":"command"}'
    signature = signing.sign(SERVER, twice.encode())
    for text in (
        signed_texts.sign(receipt),
        SignedText(twice, SERVER.public.fingerprint, signature),
    ):
        with pytest.raises(NotSignedError):
            judged(text)


def test_a_command_that_the_record_knows_is_known_also_when_it_has_expired() -> None:
    text = signed_texts.command().signed
    assert judged(text, known=("0" * 31 + "1",), now=NOW_UTC_S + 1e6).fate is Fate.KNOWN


@pytest.mark.parametrize(("late_s", "fate"), [(-0.1, Fate.ACCEPT), (0.0, Fate.EXPIRED)])
def test_a_command_expires_at_its_second(late_s: float, fate: Fate) -> None:
    assert judged(signed_texts.command().signed, now=NOW_UTC_S + 3600 + late_s).fate is fate


def test_without_any_clock_a_command_waits() -> None:
    assert judged(signed_texts.command().signed, now=None).fate is Fate.WAIT


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("explode", {}),
        ("self_test", {"deep": True}),
        ("message", {}),
        ("message", {"text": "", "minutes": 1}),
        ("message", {"text": "x" * 65, "minutes": 1}),
        ("message", {"text": "a\nb", "minutes": 1}),
        ("message", {"text": "a", "minutes": 0}),
        ("message", {"text": "a", "minutes": 1441}),
        ("message", {"text": "a", "minutes": 1, "more": 1}),
    ],
)
def test_a_command_that_cannot_be_done_is_refused_with_a_reason(
    command: str, arguments: dict[str, object]
) -> None:
    decision = judged(signed_texts.command(command, arguments=arguments).signed)
    assert decision.fate is Fate.REFUSE
    assert decision.because


def test_a_meter_that_may_not_use_its_relay_says_so() -> None:
    text = signed_texts.command("reconnect").signed
    refusals = {"reconnect": "no relay"}
    decision = decide(text, SERVER.public, SERIAL, (), now_utc_s=NOW_UTC_S, refusals=refusals)
    assert (decision.fate, decision.because) == (Fate.REFUSE, "no relay")
