"""The page's server: the page, its programs, and three questions that it may ask. It listens on this machine alone."""

from __future__ import annotations

import asyncio
import json
import socket
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from sim.errors import InputError, printable
from sim.explore.guard import Guard
from sim.explore.page import page
from sim.explore.session import SEEDS_MAX, VARIANTS, Session
from sim.report.page import PAGE_STYLE, vega
from sim.words import take_value

HERE = Path(__file__).parent
WORKERS = 2  # variants run at a time
PORT = 8421
PAGES_MAX = 256  # whose newest questions are remembered
STALE = {"stale": True}  # the answer to a question that a newer one has overtaken
ADDRESS = "127.0.0.1"
MISSING = "explore: Starlette and uvicorn are not installed: pip install 'fleetsim[explore]'"


class Turns:
    """The newest question of each kind that each page has asked: an older one that has not begun yet is not answered."""

    def __init__(self) -> None:
        self._newest: OrderedDict[str, int] = OrderedDict()

    def note(self, said: Mapping[str, Any], kind: str) -> Callable[[], bool]:
        """Note a question when it comes; returns what tells whether it is still the newest. Raises InputError."""
        key, turn = f"{kind} {str(said.get('page'))[:64]}", _whole(said.get("turn"), 0, 2**53)
        self._newest[key] = max(turn, self._newest.get(key, turn))
        self._newest.move_to_end(key)
        while len(self._newest) > PAGES_MAX:
            self._newest.popitem(last=False)
        return lambda: self._newest.get(key) == turn


def make_app(session: Session, port: int) -> Any:
    """The application, guarded. Raises InputError where Starlette is not installed."""
    try:
        from starlette.applications import Starlette
        from starlette.requests import Request
        from starlette.responses import JSONResponse, PlainTextResponse, Response
        from starlette.routing import Route
    except ImportError:
        raise InputError(MISSING) from None
    pool, turns = ThreadPoolExecutor(WORKERS), Turns()

    async def answered(request: Request, begin: Callable[[dict[str, Any]], Callable[[], Any]]) -> Response:
        """The answer to a question in JSON: `begin` reads it at once, what it returns is worked out beside the loop.
        What is wrong with it is told in one line each.
        """
        try:
            said = json.loads(await request.body())
            if not isinstance(said, dict):
                raise InputError("request: is not valid; allowed: an object")
            work = begin(said)
            return await asyncio.get_running_loop().run_in_executor(pool, lambda: JSONResponse(work()))
        except InputError as error:
            return JSONResponse({"problems": [printable(line) for line in error.problems]}, 422)
        except (ValueError, RecursionError):
            return JSONResponse({"problems": ["request: is not valid; allowed: JSON"]}, 422)

    async def look(request: Request) -> Response:
        def begin(said: dict[str, Any]) -> Callable[[], Any]:
            is_newest = turns.note(said, f"look {str(said.get('variant'))[:8]}")
            return lambda: session.look(said.get("values")) if is_newest() else STALE

        return await answered(request, begin)

    async def seeds(request: Request) -> Response:
        def begin(said: dict[str, Any]) -> Callable[[], Any]:
            is_newest, n = turns.note(said, "seeds"), _whole(said.get("n"), 1, SEEDS_MAX)
            variants = said.get("variants")
            if not isinstance(variants, list) or not 1 <= len(variants) <= len(VARIANTS):
                raise InputError("variants: are not valid; allowed: one or two")
            return lambda: session.seeds(variants, n) if is_newest() else STALE

        return await answered(request, begin)

    async def export(request: Request) -> Response:
        return await answered(request, lambda said: lambda: {"yaml": session.export(said.get("values"))})

    def given(text: str, kind: str) -> Callable[[Request], Any]:
        async def give(_: Request) -> Response:
            return Response(text, media_type=kind)

        return give

    async def nothing(_: Request, __: Exception) -> Response:
        return PlainTextResponse("there is no such page\n", 404)

    routes = [
        Route("/", given(page(session.about()), "text/html")),
        Route("/vega.js", given(vega(), "text/javascript")),
        Route("/explore.js", given((HERE / "explore.js").read_text(encoding="utf-8"), "text/javascript")),
        Route("/page.css", given(PAGE_STYLE.read_text(encoding="utf-8"), "text/css")),
        Route("/explore.css", given((HERE / "explore.css").read_text(encoding="utf-8"), "text/css")),
        Route("/api/look", look, methods=["POST"]),
        Route("/api/seeds", seeds, methods=["POST"]),
        Route("/api/export", export, methods=["POST"]),
    ]
    return Guard(Starlette(routes=routes, exception_handlers={404: nothing, 405: nothing}), port)


def _whole(value: Any, low: int, high: int) -> int:
    if type(value) is not int or not low <= value <= high:
        raise InputError(f"request: a number is not valid; allowed: a whole number from {low} to {high}")
    return value


def explore(words: list[str], say: Callable[[str], Any], progress: Any) -> None:
    """`explore SCENARIO [key=value ...] [--port N]`: serve the page until it is interrupted. Raises InputError."""
    port = port_of(take_value("explore", words, "--port"))
    name, overrides = scenario_of(words)
    try:
        import uvicorn
    except ImportError:
        raise InputError(MISSING) from None
    session = Session(name, overrides)
    with progress("getting ready") as tick:
        session.get_ready(tick)
        place = listening(port)
        app = make_app(session, place.getsockname()[1])
    url = f"http://{ADDRESS}:{place.getsockname()[1]}/"
    say(f"{session.story.name} is at {url}  (this machine only; Ctrl-C ends it)\n")
    quiet = {"log_level": "error", "access_log": False, "server_header": False}
    plain: dict[str, Any] = {"lifespan": "off", "ws": "none", "proxy_headers": False, **quiet}
    config = uvicorn.Config(app, **plain)
    try:
        uvicorn.Server(config).run(sockets=[place])
    except KeyboardInterrupt:
        return
    finally:
        place.close()


def scenario_of(words: Sequence[str]) -> tuple[str, list[str]]:
    """The scenario and its overrides. Raises InputError."""
    from sim.words import scenario_and_overrides

    return scenario_and_overrides("explore", list(words))


def port_of(text: str | None) -> int | None:
    """The port that was asked for; None where any will do. Raises InputError."""
    if text is None:
        return None
    if not text.isdecimal() or not 1 <= int(text) <= 65_535:
        raise InputError(f"explore: --port: {text!r} is not valid; allowed: a whole number from 1 to 65535")
    return int(text)


def listening(port: int | None) -> socket.socket:
    """A socket that listens on this machine alone: on the port asked for, else on the usual or any free one."""
    for wanted in (port,) if port is not None else (PORT, 0):
        place = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            place.bind((ADDRESS, wanted))
        except OSError as error:
            place.close()
            why = error.strerror or str(error)
        else:
            return place
    raise InputError(f"explore: --port: {port} cannot be used: {why}; another one may be free")
