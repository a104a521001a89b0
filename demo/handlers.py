"""What the page asks of the server: plain values, checked before anything is done with them.

"Private" events of Gradio are not listed, but open to anybody, with any data. So each request has
a schema, nothing of a request that does not fit is sent back, and an answer holds only what was
computed here.
"""

import base64
import logging
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import gradio as gr
import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

import gradcam_core
from demo import evaluation as evidence
from demo.answers import answer, preview
from demo.compute import service
from demo.examples import example_pictures
from demo.hosting.cancellation import Cancelled, cancel, cancellable
from demo.hosting.errors import INTERNAL_ERROR
from demo.hosting.gradio_internals import event_payload
from demo.hosting.uploads import UploadMissingError, uploaded_file
from demo.present import written

_log = logging.getLogger(__name__)

# As a default value it tells Gradio to show a bar, here also of every download.
PROGRESS = gr.Progress(track_tqdm=True)

_Text = Annotated[str, Field(max_length=1000)]
_Name = Annotated[str, Field(max_length=200)]


class Asked(BaseModel):
    """What every request tells."""

    model_config = ConfigDict(extra="forbid", strict=True)

    id: Annotated[int, Field(ge=0, le=2**53)]  # by which the page knows the answer


class _Request(Asked):
    """Which picture is meant, and what is asked of it."""

    task: Literal["classification", "captioning", "vqa"]
    example: _Name | None = None
    upload: _Text | None = None
    model: _Name | None = None
    question: _Text | None = None

    def path(self) -> Path:
        """Return the picture's file.

        Raises:
            UploadMissingError: There is no such upload here.
            ValueError: There is no such example, or none is meant.
        """
        if self.example is not None:
            if self.example not in example_pictures():
                raise ValueError("There is no such example.")
            return example_pictures()[self.example]
        if self.upload is None:
            raise ValueError("Please choose a picture first: upload, paste, or click an example.")
        try:
            return uploaded_file(self.upload)
        except ValueError:  # the page may have sent it to another server: docs/scale.md
            raise UploadMissingError from None


class _Explain(_Request):
    target: _Text | None = None
    layer: _Name | None = None
    method: _Name | None = None
    guided: bool = False
    new_picture: bool = False  # whether the page has not got it yet
    download: bool = False  # of the model, if need be


class _Test(_Explain):
    test: Literal["occlusion", "curves", "figures", "sanity", "fool"]
    goal: _Text | None = None  # of "fool": what the network is to say


_Side = Annotated[int, Field(ge=1, le=256)]


class _Paint(_Explain):
    columns: _Side
    rows: _Side
    mask: Annotated[str, Field(max_length=12_000)]  # a bit a cell, row by row, as base64
    filling: Literal["grey", "mean", "blur", "inpainted"]

    def covered(self) -> np.ndarray:
        """Return the mask, (rows, columns) bool.

        Raises:
            ValueError: It is none of this size.
        """
        cells = self.rows * self.columns
        try:
            data = np.frombuffer(base64.b64decode(self.mask, validate=True), np.uint8)
        except ValueError:
            data = np.empty(0, np.uint8)
        if len(data) != -(-cells // 8):
            raise ValueError("What is painted over does not fit the photo: reload the page.")
        bits = np.unpackbits(data, count=cells, bitorder="little")
        return bits.reshape(self.rows, self.columns).astype(bool)


class _Suggest(_Request):
    text: _Name


class _Stop(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    stop: Annotated[int, Field(ge=0, le=2**53)]  # the id of a request


_Figures = Annotated[str, Field(max_length=100_000)] | None


class _Keep(_Explain):
    format: Literal["zip", "pdf", "svg", "png"]
    colour_map: _Name
    opacity: Annotated[float, Field(ge=0, le=1, strict=False)]
    beside_target: _Text | None = None  # what is shown beside it: another target, or the same
    beside_model: _Name | None = None  # target of another model
    highest: Annotated[float, Field(gt=0, le=1e30, strict=False)] | None = None  # of one scale
    # As JSON, the figures that the page has been told: to measure them again would take long.
    evidence: _Figures = None
    beside_evidence: _Figures = None


class _Live(_Explain):
    frame: Annotated[str, Field(max_length=60_000)]  # of a camera: a JPEG file as base64


def explain(
    event: gr.EventData, visit: gr.Request, progress: gr.Progress = PROGRESS
) -> dict[str, Any]:
    """Explain a picture: the numbers that the page draws, or one sentence that says why not."""
    return answered(event, visit, _Explain, _explained_at_once)


def explain_slowly(
    event: gr.EventData, visit: gr.Request, progress: gr.Progress = PROGRESS
) -> dict[str, Any]:
    """Do the same where it may take long: by slow methods too, and after downloads."""
    return answered(event, visit, _Explain, _explained)


def test(
    event: gr.EventData, visit: gr.Request, progress: gr.Progress = PROGRESS
) -> dict[str, Any]:
    """Ask a map for evidence: figures, and what they say."""
    return answered(event, visit, _Test, _tested)


def paint(
    event: gr.EventData, visit: gr.Request, progress: gr.Progress = PROGRESS
) -> dict[str, Any]:
    """Explain the same of a picture of which a part is painted over."""
    return answered(event, visit, _Paint, _painted)


def suggest(event: gr.EventData, visit: gr.Request) -> dict[str, Any]:
    """Offer labels for what is typed."""
    return answered(event, visit, _Suggest, _suggested)


def keep(
    event: gr.EventData, visit: gr.Request, progress: gr.Progress = PROGRESS
) -> tuple[dict[str, Any], str | None]:
    """Write an explanation into a file to download."""
    reply = answered(event, visit, _Keep, _kept)
    return reply, reply.pop("file", None)


def live(event: gr.EventData, visit: gr.Request) -> dict[str, Any]:
    """Explain one frame of a camera."""
    return answered(event, visit, _Live, _seen)


async def stop_request(event: gr.EventData, visit: gr.Request) -> None:
    """Cancel another request of the same page; that one answers that it was stopped."""
    try:
        number = _Stop.model_validate(event_payload(event)).stop
    except ValidationError:
        return
    cancel(visit.session_hash, number, _stopped(number))


def _explained_at_once(request: _Explain) -> dict[str, Any]:
    if request.download or _slow(request):
        raise ValueError("What takes long has a lane of its own: reload the page.")
    return _explained(request)


def _slow(request: _Explain) -> bool:
    method = gradcam_core.methods().get(request.method or "")
    return method is not None and method.slow


def _explained(request: _Explain) -> dict[str, Any]:
    path = request.path()
    try:
        wanted = _wanted(request, guided=request.guided)
        shown = service.explain(path, wanted, download=request.download)
    except (ValueError, ConnectionError) as error:
        if not request.new_picture:
            raise
        # What was asked for failed, but the picture may be good all the same.
        picture = gradcam_core.open_image(path)
        picture.thumbnail((768, 768))
        return {"picture": preview(picture), **_failure(error)}
    reply: dict[str, Any] = {"answer": answer(shown)}
    if request.new_picture:
        reply["picture"] = preview(shown.explanation.picture)
    return reply


def _suggested(request: _Suggest) -> dict[str, Any]:
    found = service.suggestions(
        request.path(), request.task, request.text, question=request.question, model=request.model
    )
    return {"labels": [{"text": label.text, "probability": label.probability} for label in found]}


def _seen(request: _Live) -> dict[str, Any]:
    method = gradcam_core.methods().get(request.method or "")
    if method is not None and method.slow:
        raise ValueError(f"{method.title} takes too long to be live: choose another method.")
    try:
        frame = base64.b64decode(request.frame, validate=True)
    except ValueError:
        raise ValueError("The frame is no picture.") from None
    return {"answer": answer(service.explain_frame(frame, _wanted(request, guided=request.guided)))}


def _tested(request: _Test) -> dict[str, Any]:
    asked = {"test": request.test, "goal": request.goal}
    found: dict[str, Any] = service.compute(
        evidence.tested, request.path(), _wanted(request), **asked
    )
    return found


def _painted(request: _Paint) -> dict[str, Any]:
    if _slow(request):
        raise ValueError("This answers at once: choose a quick method in Options first.")
    shown = service.explain_covered(
        request.path(), request.covered(), request.filling, _wanted(request)
    )
    return {"answer": answer(shown), "picture": preview(shown.explanation.picture)}


def _kept(request: _Keep) -> dict[str, Any]:
    path = request.path()
    wanted = _wanted(request, guided=True)
    rows = [service.explain(path, wanted, download=False)]
    if request.beside_target is not None or request.beside_model is not None:
        other: dict[str, Any] = {"target": request.beside_target or request.target}
        if request.beside_model is not None:
            other |= {"model": request.beside_model, "layer": None}
        rows.append(service.explain(path, replace(wanted, **other), download=False))
    file = written(
        rows,
        request.format,
        request.colour_map,
        request.opacity,
        request.highest,
        [request.evidence, request.beside_evidence],
    )
    return {"file": str(file)}


def _wanted(request: _Explain, *, guided: bool = False) -> service.Wanted:
    asked = {"task", "target", "question", "model", "layer", "method"}
    return service.Wanted(**request.model_dump(include=asked), guided=guided)


def answered(
    event: gr.EventData, visit: gr.Request, schema: type[Asked], handler: Any
) -> dict[str, Any]:
    """Answer a request that fits `schema`; others, and what goes wrong, with a sentence."""
    try:
        request = schema.model_validate(event_payload(event))
    except ValidationError:
        return {"error": "The page and the server do not understand each other: reload it."}
    try:
        with cancellable(visit.session_hash, request.id):
            return {"id": request.id, **handler(request)}
    except Cancelled:
        return _stopped(request.id)
    except (ValueError, FileNotFoundError, ConnectionError) as error:
        return {"id": request.id, **_failure(error)}
    except Exception:
        _log.exception("A request failed")
        return {"id": request.id, "error": INTERNAL_ERROR}


def _stopped(number: int) -> dict[str, Any]:
    return {"id": number, "stopped": True, "error": "Stopped."}


def _failure(error: Exception) -> dict[str, Any]:
    """Return the sentence, and what there is to choose: labels like it, or a download."""
    if isinstance(error, service.NotHereError):
        info = error.info
        return {
            "error": str(error),
            "download": {
                "title": info.title,
                "megabytes": info.download_mb,
                "licence": info.licence,
                "limits": info.limits,
            },
        }
    if isinstance(error, UploadMissingError):
        return {"error": str(error), "gone": True}
    if isinstance(error, gradcam_core.UnknownLabelError):
        return {"error": error.message, "near": error.suggestions}
    return {"error": str(error)}
