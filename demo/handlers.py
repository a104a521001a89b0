"""Answers the page's requests.

"Private" events of Gradio are not listed, but anybody can call them with any data. So every request
has a strict schema, nothing of an invalid request is sent back, and answers hold only what was
computed here.

A failed request answers {"code": ..., "error": ...}, for programs and for people.
"""

import base64
import logging
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_type_hints

import gradio as gr
import numpy as np
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationError,
    create_model,
    model_validator,
)

import gradcam_core
from demo.answers import answer, preview
from demo.examples import example_pictures
from demo.hosting.cancellation import Cancelled, Stopped, cancel, cancellable, check
from demo.hosting.disk_quota import DISK_FULL, is_disk_full
from demo.hosting.errors import INTERNAL_ERROR, log_failure
from demo.hosting.gradio_internals import event_payload
from demo.hosting.settings import settings
from demo.hosting.shutdown import STOPPING
from demo.hosting.uploads import UploadMissingError, uploaded_file
from demo.present import PanelName, Size, write_file
from demo.service import DISPLAY_SIDE, NotDownloadedError, Service, TimedExplanation
from gradcam_core import Explanation, Query

_log = logging.getLogger(__name__)

# As a default value it makes Gradio show all tqdm bars of a handler, those of downloads included.
PROGRESS = gr.Progress(track_tqdm=True)

_OUT_OF_DATE = {
    "code": "out_of_date",
    "error": "This page is out of date. Please reload it.",
}
_STRICT = ConfigDict(extra="forbid", strict=True, str_max_length=1000)

Answer = dict[str, Any]
R = TypeVar("R", bound="Request")


class Request(BaseModel):
    """What every request contains."""

    model_config = _STRICT

    id: Annotated[int, Field(ge=0, le=2**53)]  # repeated in the answer


_hints = get_type_hints(Query)
_QUERY_FIELDS = {field.name: (_hints[field.name], field.default) for field in fields(Query)}
_query_schema = create_model("QueryValues", __config__=_STRICT, **_QUERY_FIELDS)  # type: ignore[call-overload]


class PictureRequest(Request):
    """A query about a picture; the page sends the query's fields among the others."""

    query_values: Annotated[
        dict[str, Any], PlainValidator(lambda sent: dict(_query_schema.model_validate(sent)))
    ]
    example: str | None = None
    upload: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _gather_query(cls, sent: Any) -> Any:
        if not isinstance(sent, dict):
            return sent
        query = {name: value for name, value in sent.items() if name in _QUERY_FIELDS}
        rest = {name: value for name, value in sent.items() if name not in _QUERY_FIELDS}
        return {**rest, "query_values": query}

    def query(self) -> Query:
        """Return the query.

        Raises:
            ValueError: See `Query`.
        """
        query = Query(**self.query_values)
        return replace(query, model=query.model or settings().model_for(query.task))

    def path(self) -> Path:
        """Return the picture's file.

        Raises:
            UploadMissingError: The upload is not on this server.
            ValueError: There is no such example, or no picture in the request.
        """
        if self.example is not None:
            if self.example not in example_pictures():
                raise ValueError("There is no such example.")
            return example_pictures()[self.example]
        if self.upload is None:
            raise ValueError("Please choose a picture first: upload, paste, or click an example.")
        try:
            return uploaded_file(self.upload)
        except ValueError:  # perhaps it was sent to another server, see docs/scale.md
            raise UploadMissingError from None


class ExplainRequest(PictureRequest):
    """Explain a picture."""

    new_picture: bool = False  # whether to send the picture, too
    download: bool = False  # whether to download the model if need be


class EvaluateRequest(PictureRequest):
    """Test a map."""

    test: Literal["occlusion", "curves", "figures", "sanity", "fool"]
    goal: str | None = None  # for "fool": the class that the network is made to predict


class ChannelsRequest(PictureRequest):
    """Show how a map was made."""

    word: Annotated[int, Field(ge=0, le=1000)] | None = None  # of a caption


_Side = Annotated[int, Field(ge=1, le=256)]


class PaintRequest(PictureRequest):
    """Explain a picture with a part painted over."""

    columns: _Side
    rows: _Side
    mask: Annotated[str, Field(max_length=12_000)]  # one bit per cell, row by row, as base64
    filling: Literal["grey", "mean", "blur", "inpainted"]

    def cells(self) -> np.ndarray:
        """Return the mask, (rows, columns) bool.

        Raises:
            ValueError: It has another size.
        """
        count = self.rows * self.columns
        try:
            data = np.frombuffer(base64.b64decode(self.mask, validate=True), np.uint8)
        except ValueError:
            data = np.empty(0, np.uint8)
        if len(data) != -(-count // 8):
            raise ValueError("The painted area does not match the picture. Please paint again.")
        bits = np.unpackbits(data, count=count, bitorder="little")
        return bits.reshape(self.rows, self.columns).astype(bool)


class SuggestRequest(PictureRequest):
    """Suggest labels for an unfinished text."""

    text: Annotated[str, Field(max_length=200)]


_MOST_ROWS = 7  # of a figure, below the first
_Measurements = Annotated[str, Field(max_length=100_000)] | None


def _split(sent: Any) -> list[str]:
    if not isinstance(sent, str):
        raise ValueError("This is not a text.")
    return sent.split(" ")


class SaveRequest(PictureRequest):
    """Write an explanation, or several of the same picture, into a file."""

    format: Literal["zip", "pdf", "svg", "png"]
    colour_map: str
    opacity: Annotated[float, Field(ge=0, le=1)]
    beside_target: str | None = None  # the second one's target; None for the same
    beside_model: str | None = None  # and its model
    highest: Annotated[float, Field(gt=0, le=1e30)] | None = None  # where a shared scale ends
    # What the page has measured already, as JSON: measuring again would take long.
    measurements: _Measurements = None
    beside_measurements: _Measurements = None
    # Of a figure: its panels, with spaces in between, its rows and its size.
    panels: Annotated[list[PanelName], BeforeValidator(_split)] | None = None
    rows: Literal["shown", "likely", "methods", "models"] = "shown"
    size: Size = "page"


class LiveRequest(PictureRequest):
    """Explain one frame of a camera."""

    frame: Annotated[str, Field(max_length=60_000)]  # a JPEG file as base64


class _CancelRequest(BaseModel):
    model_config = _STRICT

    stop: Annotated[int, Field(ge=0, le=2**53)]  # the id of a request


class Handlers:
    """Handlers of the page's events, each from a request to an answer."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def explain(
        self, event: gr.EventData, page: gr.Request, progress: gr.Progress = PROGRESS
    ) -> Answer:
        """Explain a picture by a quick method."""
        return respond(event, page, ExplainRequest, self._explain_quickly)

    def explain_slowly(
        self, event: gr.EventData, page: gr.Request, progress: gr.Progress = PROGRESS
    ) -> Answer:
        """Explain a picture by any method, after a download if need be."""
        return respond(event, page, ExplainRequest, self._explain)

    def evaluate(
        self, event: gr.EventData, page: gr.Request, progress: gr.Progress = PROGRESS
    ) -> Answer:
        """Test a map."""
        return respond(event, page, EvaluateRequest, self._evaluate)

    def channels(
        self, event: gr.EventData, page: gr.Request, progress: gr.Progress = PROGRESS
    ) -> Answer:
        """Show how a map was made, channel by channel."""
        return respond(event, page, ChannelsRequest, self._channels)

    def paint(
        self, event: gr.EventData, page: gr.Request, progress: gr.Progress = PROGRESS
    ) -> Answer:
        """Explain a picture with a part painted over."""
        return respond(event, page, PaintRequest, self._paint)

    def suggest(self, event: gr.EventData, page: gr.Request) -> Answer:
        """Suggest labels for an unfinished text."""
        return respond(event, page, SuggestRequest, self._suggest)

    def save(
        self, event: gr.EventData, page: gr.Request, progress: gr.Progress = PROGRESS
    ) -> tuple[Answer, str | None]:
        """Write an explanation into a file to download."""
        reply = respond(event, page, SaveRequest, self._save)
        return reply, reply.pop("file", None)

    def live(self, event: gr.EventData, page: gr.Request) -> Answer:
        """Explain one frame of a camera."""
        return respond(event, page, LiveRequest, self._explain_frame)

    async def cancel(self, event: gr.EventData, page: gr.Request) -> None:
        """Cancel another request of the same page, which then answers with code "cancelled"."""
        try:
            request_id = _CancelRequest.model_validate(event_payload(event)).stop
        except ValidationError:
            return
        cancel(page.session_hash, request_id, {"id": request_id, **_failure(Cancelled())})

    def _explain_quickly(self, request: ExplainRequest) -> Answer:
        if request.download or _method(request.query()).slow:
            return _OUT_OF_DATE  # such requests have their own event
        return self._explain(request)

    def _explain(self, request: ExplainRequest) -> Answer:
        path = request.path()
        try:
            result = self._service.explain(path, request.query(), download=request.download)
        except (ValueError, ConnectionError) as error:
            if not request.new_picture:
                raise
            # The picture itself may be valid.
            picture = gradcam_core.open_image(path)
            picture.thumbnail((DISPLAY_SIDE, DISPLAY_SIDE))
            return {"picture": preview(picture), **_failure(error)}
        return self._answer(result, with_picture=request.new_picture)

    def _explain_frame(self, request: LiveRequest) -> Answer:
        query = _quick(request.query())
        try:
            frame = base64.b64decode(request.frame, validate=True)
        except ValueError:
            raise ValueError("The camera's frame is not a picture.") from None
        return self._answer(self._service.explain_frame(frame, query))

    def _paint(self, request: PaintRequest) -> Answer:
        query = _quick(request.query())
        result = self._service.explain_occluded(
            request.path(), request.cells(), request.filling, query
        )
        return self._answer(result, with_picture=True)

    def _suggest(self, request: SuggestRequest) -> Answer:
        found = self._service.suggest(request.path(), request.query(), request.text)
        return {"labels": [vars(prediction) for prediction in found]}

    def _evaluate(self, request: EvaluateRequest) -> Answer:
        return self._service.evaluate(request.path(), request.query(), request.test, request.goal)

    def _channels(self, request: ChannelsRequest) -> Answer:
        return self._service.channels(request.path(), request.query(), request.word)

    def _save(self, request: SaveRequest) -> Answer:
        guided = request.panels is None or any("guided" in panel for panel in request.panels)
        path, query = request.path(), replace(request.query(), guided=guided)
        explanations = [self._service.explain(path, query).explanation]
        for each in self._rows(request, query, explanations[0]):
            check()
            explanations.append(self._service.explain(path, each).explanation)
        check()
        file = write_file(
            explanations,
            request.format,
            request.colour_map,
            request.opacity,
            request.highest,
            [request.measurements, request.beside_measurements],
            request.panels,
            request.size,
        )
        return {"file": str(file)}

    def _rows(self, request: SaveRequest, query: Query, first: Explanation) -> list[Query]:
        """Return what else is in the file."""
        if request.format == "zip" or request.rows == "shown":
            if request.beside_target is None and request.beside_model is None:
                return []
            other = replace(query, target=request.beside_target or query.target)
            if request.beside_model is not None:
                other = replace(other, model=request.beside_model, layer=None)
            return [other]
        names: list[str]
        if request.rows == "likely":
            names = [each.text for each in first.predictions if each.text != first.target]
            rows = [replace(_quick(query), target=name) for name in names]
        elif request.rows == "methods":
            why_not, known = self._service.describe(query).methods, gradcam_core.methods()
            names = [name for name in known if not why_not[name] and not known[name].slow]
            rows = [replace(query, method=name) for name in names if name != query.method]
        else:
            names = [each.name for each in gradcam_core.models(query.task) if not each.download_mb]
            others = [name for name in names if name != query.model_name]
            rows = [replace(_quick(query), model=name, layer=None) for name in others]
        return rows[:_MOST_ROWS]

    def _answer(self, result: TimedExplanation, *, with_picture: bool = False) -> Answer:
        explanation, seconds = result
        facts = self._service.describe(explanation.query)
        reply = {"answer": answer(explanation, seconds, facts)}
        if with_picture:
            reply["picture"] = preview(explanation.picture)
        return reply


def respond(
    event: gr.EventData, page: gr.Request, schema: type[R], handler: Callable[[R], Answer]
) -> Answer:
    """Answer a request that fits `schema`; everything that goes wrong is an answer, too."""
    try:
        request = schema.model_validate(event_payload(event))
    except ValidationError:
        log_failure("out_of_date", "The request has another form.")
        return dict(_OUT_OF_DATE)
    try:
        with cancellable(page.session_hash, request.id):
            return {"id": request.id, **handler(request)}
    except (Cancelled, ValueError, FileNotFoundError, ConnectionError) as error:
        failure = _failure(error)
    except Exception as error:
        if not is_disk_full(error):
            _log.exception("A request failed")
        failure = _failure(error)
    log_failure(failure["code"], failure["error"])
    return {"id": request.id, **failure}


def _quick(query: Query) -> Query:
    method = _method(query)
    if method.slow:
        raise ValueError(f"{method.title} is too slow here. Please choose a quick method.")
    return query


def _method(query: Query) -> gradcam_core.Method:
    return gradcam_core.methods()[query.method]


# The codes of errors whose own sentence is shown.
_CODES: dict[type[Exception], str] = {
    UploadMissingError: "gone",
    NotDownloadedError: "not_downloaded",
    gradcam_core.UnknownLabelError: "unknown_label",
    ValueError: "bad_request",
    FileNotFoundError: "bad_request",
    ConnectionError: "failed",
}


def _failure(error: BaseException) -> Answer:
    """Return an error's code and sentence, and what the visitor can choose instead."""
    if isinstance(error, Stopped):
        return {"code": "failed", "error": STOPPING}
    if isinstance(error, Cancelled):
        return {"code": "cancelled", "error": "Cancelled."}
    if is_disk_full(error):
        return {"code": "disk_full", "error": DISK_FULL}
    code = next((code for kind, code in _CODES.items() if isinstance(error, kind)), None)
    if code is None:
        return {"code": "failed", "error": INTERNAL_ERROR}
    answer: Answer = {"code": code, "error": str(error)}
    if isinstance(error, NotDownloadedError):
        answer["download"] = {
            "title": error.info.title,
            "megabytes": error.info.download_mb,
            "licence": error.info.licence,
            "limits": error.info.limits,
        }
    if isinstance(error, gradcam_core.UnknownLabelError):
        answer |= {"error": error.message, "near": error.suggestions}
    return answer
