"""The page's requests, answered by a session: FastAPI on uvicorn (the extra `explore`)."""

import base64
import io
import re
import secrets
import socket
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import uvicorn
from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from PIL import Image
from pydantic import BaseModel, Field

from localization.boxes import to_photo
from localization.explore.guard import guarded
from localization.explore.session import Run, Session
from saliency.errors import InputError
from saliency.methods import Options
from saliency.report import jpeg, plain

PAGE = Path(__file__).with_name("page.html")
MAX_BYTES = 64 * 2**20  # of an uploaded photo
MAX_JSON = 2**16
SHOWN = 800  # pixels of a photo's longer side on the page
POLICY = (
    "default-src 'none'; img-src 'self' data:; connect-src 'self'; script-src 'nonce-{0}'; style-src 'nonce-{0}';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class Wanted(BaseModel):
    """What a run is asked to make."""

    photo: int
    target: Annotated[str, Field(max_length=200)] = ""
    methods: Annotated[list[str], Field(max_length=200)]
    patch: Annotated[int, Field(ge=1)] | None = None
    stride: Annotated[int, Field(ge=1)] | None = None
    fill: Literal["grey", "mean", "blur", "noise"] = "grey"


class Drawn(BaseModel):
    box: Annotated[list[float], Field(min_length=4, max_length=4)]


@dataclass(frozen=True)
class Server:
    """A server that runs in a thread; `url` is the page's address, with its token."""

    url: str
    thread: threading.Thread
    uvicorn: uvicorn.Server

    def stop(self) -> None:
        self.uvicorn.should_exit = True
        self.thread.join(10)


def start(session: Session) -> Server:
    """Serve on a free port of 127.0.0.1, which no other machine can reach."""
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.bind(("127.0.0.1", 0))
    port, token = listening.getsockname()[1], secrets.token_urlsafe(24)
    config = uvicorn.Config(
        guarded(application(session), port, token),
        log_level="error", access_log=False, lifespan="off", ws="none", server_header=False,
        timeout_graceful_shutdown=1,
    )  # fmt: skip
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    while not server.started and thread.is_alive():
        time.sleep(0.01)
    return Server(f"http://127.0.0.1:{port}/{token}/", thread, server)


def application(session: Session) -> FastAPI:
    """The page and what it asks for; every refusal is one sentence, with status 400."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)

    @app.exception_handler(InputError)
    def refused(_: Request, error: InputError) -> JSONResponse:
        return JSONResponse({"problem": str(error)}, 400)

    @app.exception_handler(RequestValidationError)
    def malformed(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][1:]) or "the request"
        return JSONResponse({"problem": f"{where}: {first['msg']}"}, 400)

    @app.middleware("http")
    async def small(request: Request, call_next: Any) -> Response:
        most = MAX_BYTES if request.url.path == "/photos" else MAX_JSON
        size = request.headers.get("content-length", "0")
        if request.method == "POST" and (
            not size.isdecimal() or int(size) > most or "content-length" not in request.headers
        ):
            return JSONResponse({"problem": f"at most {most // 2**10:,} KiB can be sent"}, 413)
        return await call_next(request)

    @app.get("/")
    def page() -> HTMLResponse:
        nonce = secrets.token_urlsafe(16)
        html = PAGE.read_text("utf-8").replace("{{nonce}}", nonce)
        return HTMLResponse(html, headers={"content-security-policy": POLICY.format(nonce)})

    @app.get("/about")
    def about() -> dict[str, Any]:
        net = session.net
        size = net.preprocess.size
        windows = Options().windows(size)
        return {
            "network": net.name,
            "size": size,
            "entry": net.preprocess.summary([]),
            "classes": net.classes,
            "photos": photos(),
            "patch": windows.patch[0],
            "stride": windows.stride[0],
            "methods": [
                {
                    "name": one.name,
                    "family": one.family,
                    "source": one.source,
                    "summary": " ".join(one.summary.split()),
                }
                for one in session.methods.values()
            ],
        }

    @app.get("/photos")
    def photos() -> list[dict[str, Any]]:
        return [{"number": number, "name": name} for number, name in session.photos()]

    @app.post("/photos")
    async def upload(request: Request, name: Annotated[str, Query(max_length=300)] = "") -> dict[str, Any]:
        data = bytearray()
        async for part in request.stream():
            data += part
            if len(data) > MAX_BYTES:
                raise InputError(f"a photo must have at most {MAX_BYTES // 2**20} MiB")
        bare = re.sub(r"[^\w .()+-]", "_", re.split(r"[\\/]", name)[-1])[:80] or "photo"
        number = await _in_thread(session.upload, bytes(data), bare)
        return {"number": number, "photos": photos()}

    @app.get("/photos/{number}")
    def photo(number: int) -> dict[str, Any]:
        one = session.opened(number)
        height, width = one.placement.input
        return {
            "name": one.name,
            "size": one.placement.photo,
            "input": one.placement.input,
            "scale": one.placement.scale,
            "offset": one.placement.offset,
            "seen": plain(to_photo([0, 0, width, height], one.placement)),
            "top": session.top(one.probability),
            "true": plain(one.true),
        }

    @app.get("/photos/{number}/image")
    def image(number: int) -> Response:
        return Response(jpeg(session.opened(number).pixels, SHOWN, 88), media_type="image/jpeg")

    @app.post("/runs")
    def begin(wanted: Wanted) -> dict[str, Any]:
        options = Options(patch=wanted.patch, stride=wanted.stride, fill=wanted.fill)
        return state(session.start(wanted.photo, wanted.target, wanted.methods, options).number)

    @app.get("/runs/{number}")
    def state(number: int) -> dict[str, Any]:
        return _state(session, session.run(number))

    @app.get("/runs/{number}/picture")
    def picture(number: int, method: str) -> Response:
        return Response(_png(session.picture(number, method, SHOWN)), media_type="image/png")

    @app.get("/runs/{number}/overlay")
    def download(number: int, method: str) -> Response:
        return _attached(_png(session.picture(number, method)), f"{_stem(session, number)}-{method}.png", "image/png")

    @app.get("/runs/{number}/maps")
    def maps(number: int) -> Response:
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **session.arrays(number))  # type: ignore[arg-type]
        return _attached(buffer.getvalue(), f"{_stem(session, number)}-maps.npz", "application/octet-stream")

    @app.get("/runs/{number}/hidden")
    def hidden(number: int, row: int, column: int) -> dict[str, Any]:
        found = session.hidden(number, row, column)
        image = found.pop("image")
        if image.shape[-1] != 3:
            image = np.repeat(image[..., :1], 3, -1)
        uri = f"data:image/png;base64,{base64.b64encode(_png(image)).decode()}"
        return {**plain(found), "image": uri}

    @app.post("/runs/{number}/box")
    def drawn(number: int, given: Drawn) -> list[dict[str, Any]]:
        return session.drawn(number, given.box)

    return app


def _state(session: Session, run: Run) -> dict[str, Any]:
    made = list(run.made)
    method, done, total = run.at
    return {
        "number": run.number,
        "photo": run.photo,
        "target": run.target,
        "name": session.net.class_name(run.target),
        "made": [
            {
                "method": one.method,
                "seconds": round(one.seconds, 2),
                "problem": one.problem,
                "box": None if one.box is None else plain(one.box),
            }
            for one in made
        ],
        "at": {"method": method, "done": done, "total": total},
        "count": len(run.methods),
        "finished": run.stopped or len(made) == len(run.methods),
        "rows": plain(run.windows.starts[0]),
        "columns": plain(run.windows.starts[1]),
        "patch": run.windows.patch,
        "stride": run.windows.stride,
    }


async def _in_thread(function: Any, *arguments: Any) -> Any:
    from anyio import to_thread

    return await to_thread.run_sync(function, *arguments)


def _stem(session: Session, number: int) -> str:
    """The photo's name in letters that every header and file system takes."""
    name = session.opened(session.run(number).photo).name
    return re.sub(r"[^A-Za-z0-9._-]", "_", Path(name).stem)[:60] or "photo"


def _attached(data: bytes, name: str, kind: str) -> Response:
    return Response(data, media_type=kind, headers={"content-disposition": f'attachment; filename="{name}"'})


def _png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()
