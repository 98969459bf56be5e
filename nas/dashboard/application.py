"""The application: addresses, what answers at them, and what becomes of an error: a page in words for people."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from functools import partial

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from nas.dashboard.access import LASTS, Access
from nas.dashboard.actions import Actions, body
from nas.dashboard.bulkhead import Bulkhead
from nas.dashboard.guard import Guard
from nas.dashboard.pages import Pages
from nas.dashboard.refusal import Refusal, response
from nas.dashboard.shelf import Shelf
from nas.dashboard.studio import Studio
from nas.log import Log
from search_spaces.decision import DecisionError
from search_spaces.space import UnfitError
from workers.errors import DamagedError, NotFoundError, UserError

Handler = Callable[[Request], Awaitable[Response]]
Runner = Callable[[Callable[[], str]], Awaitable[str]]  # of a call in a thread


def application(log: Log, access: Access, names: Collection[str], scheme: str = "http") -> ASGIApp:
    """The dashboard of the searches in `log`; it answers to the host names in `names` only."""
    shelf, studio = Shelf(log), Studio(log)
    pages, actions = Pages(shelf, studio, access), Actions(log, studio)
    drawing = Bulkhead("What needs the job's own modules", 1, 32)  # a studio does one thing at a time
    store = Bulkhead("What trials have left", 4, 128)
    search, trial = "/searches/{search}", "/searches/{search}/trials/{trial}"
    routes = [
        Route("/", pages.searches),
        Route("/live", pages.live),
        Route(search, pages.search),
        Route(f"{search}/live", pages.live),
        Route(f"{search}/enqueue", _apart(drawing, pages.enqueue)),
        Route(trial, pages.trial),
        Route(f"{trial}/live", pages.live),
        Route(f"{trial}/drawing", _apart(drawing, pages.drawing)),
        Route(f"{trial}/files", _apart(store, pages.files)),
        Route(f"{trial}/files/{{attempt}}/{{name}}", _apart(store, pages.file)),
        Route("/login", pages.login),
        Route("/login", partial(_login, access), methods=["POST"]),
        Route("/static/{name}", pages.asset),
        Route(
            f"{search}/stop",
            _acting(pages, lambda name, given: actions.stop(name)),
            methods=["POST"],
        ),
        Route(f"{search}/extend", _acting(pages, actions.extend), methods=["POST"]),
        Route(f"{search}/enqueue", _acting(pages, actions.enqueue, drawing.run), methods=["POST"]),
    ]
    handlers = dict.fromkeys((Refusal, UserError, DecisionError, UnfitError, HTTPException, Exception), _explained)
    made = Starlette(routes=routes, exception_handlers=handlers)
    made.state.shelf = shelf
    return Guard(made, access, names, scheme)


def _apart(room: Bulkhead, page: Callable[[Request], Response]) -> Handler:
    """The handler of a page that may take long: in threads of its own."""

    async def handler(request: Request) -> Response:
        return await room.run(partial(page, request))

    return handler


def _acting(pages: Pages, act: Callable[..., str], run: Runner = run_in_threadpool) -> Handler:
    """The handler of an action: only with a token, only JSON, in a thread."""

    async def handler(request: Request) -> Response:
        pages.must_act()
        given = await body(request)
        said = await run(partial(act, request.path_params["search"], given))
        return JSONResponse({"said": said})

    return handler


async def _login(access: Access, request: Request) -> Response:
    """Open a login for who has the token."""
    token = (await body(request)).get("token")
    if not isinstance(token, str) or not access.knows(token):
        raise Refusal(403, "That is not the token", "Take the address again that `nas dashboard` printed.")
    answer = JSONResponse({"said": "Welcome."})
    answer.set_cookie(
        access.cookie, access.login(), max_age=int(LASTS), httponly=True, samesite="strict", secure=access.secure
    )
    return answer


async def _explained(request: Request, error: Exception) -> Response:
    return response(_refusal(error), request.headers)


def _refusal(error: Exception) -> Refusal:
    """An error in words, with its status."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, NotFoundError):
        return Refusal(404, "That is not here", str(error))
    if isinstance(error, DamagedError):
        return Refusal(500, "The journal is damaged", str(error))
    if isinstance(error, UserError | DecisionError | UnfitError):
        return Refusal(400, "That does not work", str(error))
    if isinstance(error, HTTPException):
        text = "Nothing here has this address." if error.status_code == 404 else "Nothing here does this."
        return Refusal(error.status_code, "There is no such page", text)
    return Refusal(500, "This should not happen", f"{type(error).__name__}: the dashboard's terminal says more.")
