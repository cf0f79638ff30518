"""The customer's page of one meter: what the readings say, in words, numbers and a chart."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from zoneinfo import ZoneInfo

from markupsafe import Markup
from sqlalchemy import Connection, RowMapping
from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Request, Response

from server import chart, energy, history, record_card, registry
from server.browser import render, session_in, visitor_of
from server.db import reading
from server.energy import EnergySpan, Hour, PowerPoint
from server.fleet import LATE_AFTER_INTERVALS, LATE_AFTER_S
from server.language import (
    UNKNOWN,
    Language,
    age,
    clock_time,
    date_and_time,
    kwh,
    number,
)
from server.record_card import RecordState
from server.registry import InstalledMeter
from server.site import Site

DAY_S = 24 * 3600
STEP_S = 300
NO_FLOW_W = 0.5


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that one page is made of, read in one transaction."""

    meter: InstalledMeter
    meters: list[InstalledMeter]
    now_utc_s: int
    latest: RowMapping | None
    today: EnergySpan | None
    today_utc_s: int
    day: EnergySpan | None
    hours: list[Hour]
    power: list[PowerPoint]
    record: RecordState


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a list: a name, a quantity and its unit."""

    name: str
    quantity: str
    unit: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class HourRow:
    """One line of the table of the last day."""

    begin: str
    end: str
    imported: str
    exported: str
    power: str
    power_max: str
    partial: bool


def get_meter(site: Site, request: Request, serial: str) -> Response:
    """The page of one of the customer's own meters.

    Raises:
        NotFound: no such meter, or somebody else's: the answer is the same.
    """
    visitor = visitor_of(site, request)
    session = session_in(visitor)
    now_utc_s = site.clock_utc_s()
    with reading(site.database) as connection:
        meters = registry.meters_of(connection, session.holder_id)
        meter = next((meter for meter in meters if meter.serial == serial), None)
        if meter is None:
            raise NotFound
        snapshot = take(connection, meter, meters, now_utc_s)
    language = visitor.language
    return render(
        site,
        request,
        visitor,
        "meter.html",
        meter=meter,
        meters=meters,
        customer=session.name,
        status=status_of(snapshot),
        last_connection=last_connection(language, snapshot),
        now=_now(language, snapshot),
        quantities=quantities(language, snapshot.latest),
        registers=registers(language, snapshot.latest),
        today=_span(language, snapshot, snapshot.today, snapshot.today_utc_s),
        day=_span(language, snapshot, snapshot.day, now_utc_s - DAY_S),
        hour_rows=[_hour_row(language, snapshot, hour) for hour in reversed(snapshot.hours)],
        charts=[_chart(language, snapshot, wide=wide) for wide in (True, False)],
        flags=[] if snapshot.latest is None else snapshot.latest["flags"].split(),
        clock="synced" if snapshot.latest is None else snapshot.latest["clock"],
        guessed=_is_guessed(snapshot.latest),
        unknown=UNKNOWN,
        record=record_card.card(language, snapshot.record, ZoneInfo(meter.place.time_zone)),
    )


def take(
    connection: Connection, meter: InstalledMeter, meters: list[InstalledMeter], now_utc_s: int
) -> Snapshot:
    """Read one meter's page at one moment."""
    zone = ZoneInfo(meter.place.time_zone)
    local = datetime.fromtimestamp(now_utc_s, zone)
    today_utc_s = int(local.replace(hour=0, minute=0, second=0, fold=0).timestamp())
    this_hour_s = now_utc_s - local.minute * 60 - local.second
    meter_id = meter.meter_id
    day_utc_s = now_utc_s - DAY_S
    first_utc_s = min(today_utc_s, day_utc_s) - energy.HOUR_S
    points = history.profile(connection, meter_id, first_utc_s, now_utc_s + energy.AHEAD_S)
    return Snapshot(
        meter=meter,
        meters=meters,
        now_utc_s=now_utc_s,
        latest=history.latest(connection, meter_id),
        today=energy.energy_since(points, today_utc_s, now_utc_s),
        today_utc_s=today_utc_s,
        day=energy.energy_since(points, day_utc_s, now_utc_s),
        hours=energy.hours(points, this_hour_s - 23 * 3600, 24, now_utc_s),
        power=energy.power_line(points, day_utc_s, now_utc_s, STEP_S),
        record=record_card.take(connection, meter_id, now_utc_s),
    )


def status_of(snapshot: Snapshot) -> str:
    """``retired``, ``waiting`` (never heard of), ``online`` or ``late``."""
    meter = snapshot.meter
    if meter.status == "retired":
        return "retired"
    if meter.last_seen_utc_s is None:
        return "waiting"
    interval_s = 0 if snapshot.latest is None else snapshot.latest["interval_s"]
    late_after_s = max(LATE_AFTER_S, LATE_AFTER_INTERVALS * interval_s)
    return "late" if snapshot.now_utc_s - meter.last_seen_utc_s > late_after_s else "online"


def direction_of(power_w: float | None) -> str:
    """``unknown``, ``none``, ``import`` or ``export``."""
    if power_w is None:
        return "unknown"
    if abs(power_w) < NO_FLOW_W:
        return "none"
    return "import" if power_w > 0 else "export"


def _is_guessed(latest: RowMapping | None) -> bool:
    """Whether nothing confirms the date of the newest reading, not even an anchor."""
    if latest is None or latest["clock"] not in ("informative", "unknown"):
        return False
    return not latest["anchored"]


def last_connection(language: Language, snapshot: Snapshot) -> dict[str, str] | None:
    """When the meter was last in touch."""
    seen_utc_s = snapshot.meter.last_seen_utc_s
    if seen_utc_s is None:
        return None
    return _moment(language, snapshot, seen_utc_s)


def _moment(language: Language, snapshot: Snapshot, utc_s: int) -> dict[str, str]:
    zone = ZoneInfo(snapshot.meter.place.time_zone)
    return {
        "age": age(language, snapshot.now_utc_s - utc_s),
        "local": date_and_time(language, utc_s, zone),
        "iso": datetime.fromtimestamp(utc_s, zone).isoformat(),
    }


def _now(language: Language, snapshot: Snapshot) -> dict[str, object]:
    latest = snapshot.latest
    power_w = None if latest is None else latest["power_w"]
    size_w = None if power_w is None else abs(power_w)
    fresh = status_of(snapshot) == "online"
    return {
        "direction": direction_of(power_w),
        "power": number(language, size_w, 0 if size_w is None or size_w >= 100 else 1),
        "fresh": fresh,
        "interval_s": None if latest is None else latest["interval_s"],
        "end": None if latest is None else _moment(language, snapshot, latest["utc_s"]),
    }


def quantities(language: Language, latest: RowMapping | None) -> list[Row]:
    """The list of measurements."""
    say = language.say

    def shown(column: str, digits: int) -> str:
        return number(language, None if latest is None else latest[column], digits)

    power_w = None if latest is None else latest["power_w"]
    flow = {
        "import": say("importing"),
        "export": say("exporting"),
        "none": say("no flow"),
        "unknown": "",
    }[direction_of(power_w)]
    size_w = number(language, None if power_w is None else abs(power_w), 1)
    return [
        Row(say("Voltage (Vrms)"), shown("voltage_v", 1), "V"),
        Row(say("Current (Irms)"), shown("current_a", 2), "A"),
        Row(say("Real power"), size_w, "W", flow),
        Row(say("Apparent power"), shown("apparent_va", 1), "VA"),
        Row(say("Reactive power"), shown("reactive_var", 1), "var"),
        Row(say("Power factor"), shown("power_factor", 3), ""),
        Row(say("Phase angle"), shown("phase_deg", 1), "°"),
        Row(say("Frequency"), shown("frequency_hz", 2), "Hz"),
        Row(say("Voltage THD"), shown("thd_voltage_pct", 1), "%"),
        Row(say("Current THD"), shown("thd_current_pct", 1), "%"),
    ]


def registers(language: Language, latest: RowMapping | None) -> dict[str, str]:
    """Both, in kWh."""
    return {
        "import": kwh(language, None if latest is None else latest["import_j"]),
        "export": kwh(language, None if latest is None else latest["export_j"]),
    }


def _span(
    language: Language, snapshot: Snapshot, span: EnergySpan | None, wanted_utc_s: int
) -> dict[str, str]:
    """Energy of a period; ``since`` is there where it begins later than it should."""
    if span is None:
        return {"import": UNKNOWN, "export": UNKNOWN, "since": ""}
    zone = ZoneInfo(snapshot.meter.place.time_zone)
    late = abs(span.from_utc_s - wanted_utc_s) > energy.BOUNDARY_S
    return {
        "import": kwh(language, span.import_j),
        "export": kwh(language, span.export_j),
        "since": clock_time(language, span.from_utc_s, zone) if late else "",
    }


def _hour_row(language: Language, snapshot: Snapshot, hour: Hour) -> HourRow:
    zone = ZoneInfo(snapshot.meter.place.time_zone)
    begin = clock_time(language, hour.start_utc_s, zone)
    end = clock_time(language, hour.start_utc_s + energy.HOUR_S, zone)
    return HourRow(
        begin,
        end,
        kwh(language, hour.energy.import_j),
        kwh(language, hour.energy.export_j),
        number(language, hour.power_w, 0),
        number(language, hour.power_w_max, 0),
        hour.partial,
    )


def _chart(language: Language, snapshot: Snapshot, *, wide: bool) -> Markup:
    stop_utc_s = snapshot.now_utc_s
    return chart.draw(
        snapshot.power,
        chart.Frame(
            name="chart-wide" if wide else "chart-narrow",
            width=660 if wide else 360,
            height=410 if wide else 270,
            start_utc_s=stop_utc_s - DAY_S,
            stop_utc_s=stop_utc_s,
            step_s=STEP_S,
            time_ticks=_time_ticks(language, snapshot, every_h=3 if wide else 6),
            power_text=partial(_power_text, language),
        ),
        _chart_words(language, snapshot),
    )


def _time_ticks(language: Language, snapshot: Snapshot, *, every_h: int) -> list[tuple[int, str]]:
    """Local full hours divisible by ``every_h``, away from the edges."""
    zone = ZoneInfo(snapshot.meter.place.time_zone)
    start = datetime.fromtimestamp(snapshot.now_utc_s - DAY_S, zone)
    first_utc_s = int((start + timedelta(hours=1)).timestamp()) - start.minute * 60 - start.second
    margin_s = DAY_S // 40
    hours = [first_utc_s + index * 3600 for index in range(24)]
    return [
        (utc_s, clock_time(language, utc_s, zone))
        for utc_s in hours
        if datetime.fromtimestamp(utc_s, zone).hour % every_h == 0
        and snapshot.now_utc_s - DAY_S + margin_s < utc_s < snapshot.now_utc_s - margin_s
    ]


def _power_text(language: Language, power_w: float) -> str:
    if abs(power_w) >= 1000:
        return number(language, power_w / 1000, 1) + " kW"
    return number(language, power_w, 0) + " W"


def _chart_words(language: Language, snapshot: Snapshot) -> chart.Words:
    say = language.say
    powers_w = [point.power_w for point in snapshot.power]
    if powers_w:
        description = say(
            "Five-minute averages: from {low} to {high}; import is positive, export negative."
        ).format(
            low=_power_text(language, min(powers_w)), high=_power_text(language, max(powers_w))
        )
    else:
        description = say("No readings in the last 24 hours.")
    return chart.Words(
        title=say("Power of the last 24 hours"),
        description=description,
        imported=say("Import"),
        exported=say("Export"),
        nothing=say("No readings in the last 24 hours."),
    )
