"""``/api/v1/readings/{stream}``: limits first, then one transaction, then the answer."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence

from werkzeug.wrappers import Request, Response

from server import readings, registry, reply, streams, wire
from server.access import meter_of
from server.bodies import read_body
from server.db import writing
from server.readings import Arrival, RowAnswer
from server.reply import Asked
from server.responses import RefusedError, json_answer
from server.site import Site

LOG = logging.getLogger(__name__)
NUMBER = re.compile(r"[0-9]{1,16}\Z")


def get_readings(site: Site, request: Request, stream: str) -> Response:
    """How far the server holds the stream, for a meter that wants to know before it sends.

    Raises:
        RefusedError: 400 no stream.
    """
    meter = meter_of(request)
    _require_stream(stream)
    known_version = _number(request, "settings")
    now_utc_s = site.clock_utc_s()
    with writing(site.database) as connection:
        registry.seen(connection, meter.meter_id, now_utc_s)
        held = streams.held(connection, meter, stream)
        asked = Asked(meter, stream, known_version, now_utc_s)
        content = reply.compose(connection, asked, held)
    return json_answer(content)


def post_readings(site: Site, request: Request, stream: str) -> Response:
    """Keep the lines and answer for each; the answer leaves after they are on disk.

    Raises:
        RefusedError: as docs/protocol.md's "Answers that are not 200" lists them.
    """
    meter = meter_of(request)
    _require_stream(stream)
    first_seq = _first_seq(request)
    known_version = _number(request, "settings")
    lines = _lines(site, request)
    if first_seq + len(lines) - 1 > wire.SEQ_MAX:
        raise RefusedError(400, f"first_seq and the lines after it must stay below {wire.SEQ_MAX}")
    arrivals = _decoded(lines, first_seq, meter.serial, stream)
    now_utc_s = site.clock_utc_s()
    try:
        with writing(site.database) as connection:
            registry.seen(connection, meter.meter_id, now_utc_s)
            held, answers = readings.keep(connection, meter, stream, arrivals, now_utc_s)
            asked = Asked(meter, stream, known_version, now_utc_s)
            content = reply.compose(connection, asked, held)
    except streams.TooManyStreamsError as error:
        raise RefusedError(403, f"{error}; the operator must look at it") from error
    _tell_operator(meter.serial, stream, answers)
    return json_answer(content | {"rows": [_row(answer) for answer in answers]})


def _require_stream(stream: str) -> None:
    if re.match(wire.STREAM_PATTERN, stream) is None:
        raise RefusedError(400, "a stream is 32 hexadecimal digits in lower case")


def _first_seq(request: Request) -> int:
    given = request.args.get("first_seq", "")
    if NUMBER.match(given) is None or int(given) < 1:
        raise RefusedError(400, "first_seq, the number of the first line, is absent or below 1")
    return int(given)


def _number(request: Request, name: str) -> int:
    """A count in the address; 0 if it is absent."""
    given = request.args.get(name, "0")
    if NUMBER.match(given) is None:
        raise RefusedError(400, f"{name} is a whole number from 0 on")
    return int(given)


def _lines(site: Site, request: Request) -> list[bytes]:
    if request.mimetype != "application/x-ndjson":
        raise RefusedError(415, "send Content-Type: application/x-ndjson")
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise RefusedError(415, "send the lines as they are, without Content-Encoding")
    body = read_body(site.bodies_of_meters, request, wire.BODY_BYTES_MAX)
    if body.count(b"\n") > wire.LINES_MAX:
        raise RefusedError(413, f"at most {wire.LINES_MAX} lines")
    lines = wire.split_lines(body)
    if lines is None:
        raise RefusedError(400, "the body is empty or its last line has no end")
    return lines


def _decoded(lines: Sequence[bytes], first_seq: int, serial: str, stream: str) -> list[Arrival]:
    arrivals = []
    for seq, line in enumerate(lines, first_seq):
        decoded = wire.decode(line, meter=serial, stream=stream, seq=seq)
        if isinstance(decoded, wire.UnknownMajor):
            raise RefusedError(
                426,
                f"line {seq} is of schema {decoded.schema}, this server knows {wire.SCHEMA}: "
                "nothing was stored, keep the rows until the server is newer",
                {"Upgrade": f"meterd/{wire.SCHEMA}"},
            )
        arrivals.append(Arrival(seq, line, decoded))
    return arrivals


def _tell_operator(serial: str, stream: str, answers: Sequence[RowAnswer]) -> None:
    for answer in answers:
        if answer.result in ("conflict", "invalid"):
            LOG.warning(
                "meter %s stream %s line %d is in quarantine: %s, %r",
                serial,
                stream,
                answer.seq,
                answer.result,
                answer.reason,
            )


def _row(answer: RowAnswer) -> dict[str, object]:
    row: dict[str, object] = {"seq": answer.seq, "result": answer.result}
    return row if answer.reason is None else row | {"reason": answer.reason}
