"""Pages: what is shown at which address; every one is a function of the shelf, and none of them changes anything."""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

import yaml
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from nas.dashboard import overview, parts
from nas.dashboard.access import Access
from nas.dashboard.book import Book
from nas.dashboard.filing import file, papers
from nas.dashboard.ledger import Query
from nas.dashboard.refusal import Refusal
from nas.dashboard.rendering import assets, markup, plain, render, tag
from nas.dashboard.shelf import Shelf
from nas.dashboard.studio import Studio
from nas.history import TrialRecord
from nas.log import NAME
from nas.remote.kept import place
from nas.summary import budget
from workers.artifacts import Artifacts
from workers.errors import NotFoundError
from workers.redaction import redacted_text


@final
class Pages:
    """The handlers of every address that is read; they run in threads, since journals are read in them."""

    def __init__(self, shelf: Shelf, studio: Studio, access: Access) -> None:
        self.shelf, self.studio, self.access = shelf, studio, access

    def searches(self, request: Request) -> Response:
        """The list of searches."""
        return self._page(request, "searches.html", self._searches(), title="Searches")

    def search(self, request: Request) -> Response:
        """One search: how it stands, its charts, its trials."""
        book, query = self._book(request), _query(request)
        if not book.ready.is_set():
            return self._reading(request, book)
        with book.lock:
            found = parts.search_parts(book, query)
            known = parts.filters(book)
            job = yaml.safe_dump(dict(book.header.job), sort_keys=False, allow_unicode=True, width=88)
            limits = budget(book.header, book.history)
        about = {"book": book, "query": query, "filters": known, "job": plain(job), "limits": limits}
        return self._page(request, "search.html", found, title=book.search, **about)

    def trial(self, request: Request) -> Response:
        """One trial: its network, its curves, its settings, what became of it."""
        book, number = self._book(request), _number(request, "trial")
        if not book.ready.is_set():
            return self._reading(request, book)
        with book.lock:
            found = parts.trial_parts(book, number)
            record = book.history.trials[number]
        about = {"book": book, "record": record, "number": number}
        return self._page(request, "trial.html", found, title=f"Trial {number} of {book.search}", **about)

    def drawing(self, request: Request) -> Response:
        """The network of a trial, a piece of its page: it may take seconds, since the job's modules are imported."""
        record = self._record(request)
        try:
            sketch = self.studio.draw(request.path_params["search"], record.trial.id, record.trial.candidate)
        except Exception as error:  # a user's space may raise anything; the rest of the page stands
            said = str(error) if not isinstance(error, KeyError) else repr(error)
            return HTMLResponse(render("part_drawing.html", sketch=None, trouble=redacted_text(said), markup=markup))
        return HTMLResponse(render("part_drawing.html", sketch=sketch, trouble="", markup=markup))

    def files(self, request: Request) -> Response:
        """What a trial left, a piece of its page: exhibits, tracebacks, logs."""
        record, search = self._record(request), request.path_params["search"]
        try:
            found = papers(self._artifacts(search), search, record.trial.id)
        except Exception as error:  # the store may be out of reach; the rest of the page stands
            return HTMLResponse(render("part_files.html", papers=(), trouble=redacted_text(str(error)), link=""))
        link = f"/searches/{search}/trials/{record.trial.id}/files"
        return HTMLResponse(render("part_files.html", papers=found, trouble="", link=link))

    def file(self, request: Request) -> Response:
        """One file of a trial."""
        record, search = self._record(request), request.path_params["search"]
        return file(
            self._artifacts(search), search, record.trial.id, _number(request, "attempt"), request.path_params["name"]
        )

    def enqueue(self, request: Request) -> Response:
        """The form for a candidate; its first values are those of a trial (`?from=N`), else of the best."""
        self.must_act()
        book = self._read(request)
        with book.lock:
            number = _small(request.query_params.get("from", ""), -1)
            best = book.courses["own"].best if book.courses else None
            record = book.history.trials.get(number, best)
        given = dict(record.trial.candidate) if record is not None else {}
        fields = self.studio.fields(book.search, given)
        return self._page(request, "enqueue.html", {}, title=f"A candidate for {book.search}", book=book, fields=fields)

    def live(self, request: Request) -> Response:
        """What of a page is not as `have` says: JSON of changed parts."""
        have = request.query_params.get("have", "")
        if "search" not in request.path_params:
            return JSONResponse({"parts": parts.changed(self._searches(), have)})
        book = self._book(request)
        if not book.ready.is_set():
            return JSONResponse({"reading": book.count})
        with book.lock:
            if "trial" in request.path_params:
                found = parts.trial_parts(book, _number(request, "trial"))
            else:
                found = parts.search_parts(book, _query(request))
        return JSONResponse({"parts": parts.changed(found, have)})

    def login(self, request: Request) -> Response:
        """The page that hands the token over; it stands behind the `#` of the address, which no server is told."""
        return self._page(request, "login.html", {}, title="Log in")

    def asset(self, request: Request) -> Response:
        """A style sheet or a script."""
        found = assets().get(request.path_params["name"])
        if found is None:
            raise Refusal(404, "There is no such page", "Nothing here has this address.")
        kept = {"cache-control": "public, max-age=31536000, immutable"}
        return Response(found[0], media_type=found[1], headers=kept)

    def must_act(self) -> None:
        """Refuse where nothing can be changed."""
        if not self.access.guarded:
            text = "It was started without a token, to look only. `nas dashboard --steer` makes one."
            raise Refusal(403, "This dashboard changes nothing", text)

    def _searches(self) -> Mapping[str, str]:
        lines, total = overview.lines(self.shelf), len(self.shelf.searches())
        return {"searches": render("part_searches.html", lines=lines, total=total)}

    def _page(self, request: Request, template: str, found: Mapping[str, str], title: str, **about: object) -> Response:
        shown = {name: (tag(html), markup(html)) for name, html in found.items()}
        live = f"{request.url.path.rstrip('/')}/live"
        text = render(template, parts=shown, title=title, live=live, may_act=self.access.guarded, **about)
        return HTMLResponse(text)

    def _reading(self, request: Request, book: Book) -> Response:
        return self._page(request, "reading.html", {}, title=book.search, book=book)

    def _artifacts(self, search: str) -> Artifacts:
        return Artifacts.open(place(self.shelf.log, self.shelf.log.header(search)))

    def _book(self, request: Request) -> Book:
        search = request.path_params["search"]
        if not NAME.fullmatch(search):
            raise NotFoundError(f"{search[:80]!r} is no name of a search")
        return self.shelf.book(search)

    def _read(self, request: Request) -> Book:
        """The book of a search, for what cannot be said of one that is being read."""
        book = self._book(request)
        if not book.ready.is_set():
            raise Refusal(503, "It is being read", f"{book.search} is being read: look again in a moment.")
        return book

    def _record(self, request: Request) -> TrialRecord:
        book, number = self._read(request), _number(request, "trial")
        with book.lock:
            if number not in book.history.trials:
                raise NotFoundError(f"{book.search} has no trial {number}")
            return book.history.trials[number]


def _number(request: Request, name: str) -> int:
    found = _small(request.path_params[name], -1)
    if found < 0:
        raise Refusal(404, "There is no such page", "Trials and attempts have numbers.")
    return found


def _small(text: str, otherwise: int) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 9 else otherwise


def _query(request: Request) -> Query:
    given = request.query_params
    return Query(
        state=given.get("state", "")[:20],
        arm=given.get("arm", "")[:20],
        text=given.get("text", "")[:200],
        sort=given.get("sort", "")[:60],
        down=given.get("down") == "1",
        page=_small(given.get("page", "1"), 1),
    )
