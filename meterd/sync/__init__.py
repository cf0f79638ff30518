"""The meter's readings on their way to the server; a process of its own, meterd-sync.

``schedule.run`` is the process, ``push`` decides what is sent and believed, ``protocol`` is the
page docs/protocol.md, ``exchange`` is one request and its answer, ``credential`` is who we are.
"""

from meterd.sync.credential import claim, claim_over_http, load_credential
from meterd.sync.exchange import Answer, Exchange, over_http
from meterd.sync.push import Outcome, drain, push_once
from meterd.sync.schedule import run

__all__ = [
    "Answer",
    "Exchange",
    "Outcome",
    "claim",
    "claim_over_http",
    "drain",
    "load_credential",
    "over_http",
    "push_once",
    "run",
]
