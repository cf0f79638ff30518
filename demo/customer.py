"""The customer with a browser: logs in, looks at the page until a reading is there."""

from __future__ import annotations

import re
import threading
import time

import requests

from demo.errors import DemoError

TIMEOUT_S = 10.0
LOOK_EVERY_S = 0.5
TOKEN = re.compile(r'name="csrf_token" value="([^"]+)"')
POWER = re.compile(r'<p class="big">([^<]*\d[^<]*) <span class="unit">W</span>')
"""The power of the last reading in large figures; before the first reading there is a dash."""


def first_reading(
    address: str, user: str, password: str, *, stop: threading.Event
) -> tuple[float, str] | None:
    """Wait until the customer's page shows a reading; None: stopped before.

    Returns the time (time.monotonic) of the look that found it, and the page's power in words.

    Raises:
        DemoError: the login failed, or the server stopped answering.
    """
    with requests.Session() as session:
        session.trust_env = False  # no proxy stands between us and this machine
        try:
            _log_in(session, address, user, password)
            while not stop.wait(LOOK_EVERY_S):
                page = session.get(address, timeout=TIMEOUT_S)
                page.raise_for_status()
                found = POWER.search(page.text)
                if found is not None:
                    return time.monotonic(), f"{found[1]} W"
        except requests.RequestException as error:
            if stop.is_set():
                return None
            raise DemoError(f"the customer's page cannot be read: {error}") from error
    return None


def _log_in(session: requests.Session, address: str, user: str, password: str) -> None:
    form = session.get(f"{address}login", timeout=TIMEOUT_S)
    form.raise_for_status()
    token = TOKEN.search(form.text)
    if token is None:
        raise DemoError(f"{address}login holds no form to log in with")
    answer = session.post(
        f"{address}login",
        data={"csrf_token": token[1], "user_name": user, "password": password},
        headers={"Origin": address.rstrip("/")},
        allow_redirects=False,
        timeout=TIMEOUT_S,
    )
    if answer.status_code != requests.codes.see_other:
        raise DemoError(f"the customer could not log in: {address}login said {answer.status_code}")
