"""Webhook: one POST of JSON when a search ends."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from http.client import HTTPException, HTTPMessage
from typing import IO, final
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from nas.deadline import within
from nas.history import History
from nas.strict import strict
from nas.summary import best, counts, trial
from nas.watcher import Watched, Watcher
from workers.errors import UserError
from workers.pool import Pool
from workers.trial import Json

PAUSE = 0.25  # seconds before the first repetition, twice as long before each further one
AGAIN = (408, 425, 429)  # answers below 500 that say: later


@final
class Webhook(Watcher):
    """Tells `url` (http or https) once how the search ended: finished, stopped, interrupted or failed.

    The body has `search`, `name`, `state`, `reason`, `trials` (counts), `objectives`, `best` (as `nas best --json`) and
    `seconds`. `url_file` names a file with the URL where that is itself a secret. With `secret_file` each attempt has
    `X-Cellwright-Signature: sha256=HEX`, the HMAC-SHA256 of `X-Cellwright-Timestamp`, a full stop and the body, by the
    file's content without white space around it; `X-Cellwright-Delivery` is the same in all attempts of one ending.

    An attempt waits `timeout` seconds for an answer. One that fails, or is answered by 5xx, 408, 425 or 429, is
    followed by up to `retries` more, all within `patience` seconds, after which the driver goes on. Redirects are not
    followed.
    """

    def __init__(
        self,
        watched: Watched,
        url: str = "",
        url_file: str = "",
        secret_file: str = "",
        timeout: float = 3.0,
        retries: int = 3,
        patience: float = 10.0,
    ) -> None:
        self.check({"url": url, "url_file": url_file})
        self._watched = watched
        self._url = url or _content(watched, "url_file", url_file)
        self._host = _host(self._url)
        self._secret = _content(watched, "secret_file", secret_file).encode() if secret_file else b""
        self._timeout, self._retries, self._patience = timeout, retries, patience

    @classmethod
    def check(cls, options: Mapping[str, Json]) -> None:
        if bool(options.get("url")) == bool(options.get("url_file")):
            raise UserError("watch: webhook needs either url or url_file")
        if url := options.get("url"):
            _host(url)

    def turn(self, history: History, pool: Pool) -> None:
        """Nothing is said before the end."""

    def end(self, history: History, state: str, reason: str) -> None:
        body = json.dumps(self._said(history, state, reason), allow_nan=False).encode()
        delivery = f"{self._watched.search}/{len(history.drivers)}/{state}"
        within(self._patience, lambda: self._send(body, delivery), f"the webhook at {self._host}")

    def _said(self, history: History, state: str, reason: str) -> Mapping[str, Json]:
        goals = self._watched.objectives
        said = {
            "search": self._watched.search,
            "name": self._watched.job.get("name"),
            "state": state,
            "reason": reason,
            "seconds": history.worked,
            "trials": counts(history.searched()),
            "objectives": [{"metric": goal.metric, "direction": str(goal.direction)} for goal in goals],
            "best": [trial(record) for record in best(history, goals)],
        }
        found: Mapping[str, Json] = strict(said)
        return found

    def _send(self, body: bytes, delivery: str) -> None:
        """Post until somebody has it; UserError, which names the host alone, where nobody does."""
        opener = build_opener(_NoRedirect)
        pause, failure = PAUSE, ""
        for attempt in range(self._retries + 1):
            if attempt:
                time.sleep(pause)
                pause *= 2
            request = Request(self._url, data=body, headers=self._headers(body, delivery), method="POST")
            try:
                with opener.open(request, timeout=self._timeout):
                    return
            except HTTPError as error:
                failure = f"answered {error.code}"
                error.close()
                if error.code < 500 and error.code not in AGAIN:
                    break
            except (URLError, HTTPException, OSError) as error:
                failure = f"cannot be reached ({type(getattr(error, 'reason', error)).__name__})"
        raise UserError(f"the webhook at {self._host} {failure}, so it was not told how the search ended")

    def _headers(self, body: bytes, delivery: str) -> dict[str, str]:
        stamp = str(int(time.time()))
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "cellwright",
            "X-Cellwright-Delivery": delivery,
            "X-Cellwright-Timestamp": stamp,
        }
        if self._secret:
            signed = hmac.new(self._secret, f"{stamp}.".encode() + body, hashlib.sha256)
            headers["X-Cellwright-Signature"] = f"sha256={signed.hexdigest()}"
        return headers


@final
class _NoRedirect(HTTPRedirectHandler):
    """Follows no redirect: what was signed for one host is not carried to another."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> None:
        return None


def _content(watched: Watched, option: str, name: str) -> str:
    """What a file says that `option` names; UserError where it cannot be read, or says nothing."""
    path = watched.beside(name)
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise UserError(f"watch: webhook cannot read its {option} {path}: {reason}") from error
    if not text:
        raise UserError(f"watch: webhook's {option} {path} is empty: write one line into it")
    return text


def _host(url: str) -> str:
    """Host and port of a URL, which is all of it that is ever written down; UserError unless it is one to post to."""
    try:
        parts = urlsplit(url)
        port = "" if parts.port is None else f":{parts.port}"
    except ValueError:
        raise UserError("watch: webhook's url is none: write https://HOST/PATH") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UserError(f"watch: webhook's url begins with {parts.scheme or 'nothing'}://, but must be http or https")
    if parts.username or parts.password:
        raise UserError("watch: webhook's url holds a name or a password, which journals would keep: use secret_file")
    return f"{parts.hostname}{port}"
