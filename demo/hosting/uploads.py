"""Uploaded pictures; no other file of the server is opened."""

import asyncio
import re
import shutil
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Self

import gradio as gr
from gradio_client.utils import strip_invalid_filename_characters
from python_multipart.multipart import parse_options_header
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Message, Receive, Scope

from demo.hosting.bodies import bounded
from demo.hosting.disk_quota import DISK_FULL, is_disk_full, quota
from demo.hosting.files import new_folder
from demo.hosting.gradio_internals import UnfetchedImage, address_of, upload_folder
from demo.hosting.refusals import Refusal, RefusedError, too_large

MAX_UPLOAD = 30 * 10**6  # bytes
MAX_BODY = MAX_UPLOAD + 64 * 1024  # with what surrounds the file
_TIMEOUT = 600.0  # seconds
_MAX_AT_ONCE = 128
_MAX_AT_ONCE_PER_ADDRESS = 32

_MALFORMED = Refusal(400, "form", "Please send a form with one file named `files`, nothing else.")
_BUSY = Refusal(503, "busy", "Too many uploads at once. Please try again in a minute.")
_FULL = Refusal(507, "full", DISK_FULL)

_arriving: Counter[str] = Counter()  # uploads by address


async def upload_response(scope: Scope, receive: Receive) -> Response:
    """Store the one file of a form, and return its path as Gradio's own route does.

    That route keeps fields and 1,000 files of any form, decodes names in whatever character set
    the client asks for, and makes the path from the content.

    Raises:
        RefusedError: The form is not as expected, too large or too slow, or there is no room.
    """
    address = address_of(Request(scope))
    if _arriving[address] >= _MAX_AT_ONCE_PER_ADDRESS or _arriving.total() >= _MAX_AT_ONCE:
        raise RefusedError(_BUSY)
    _arriving[address] += 1
    try:
        await asyncio.to_thread(quota.reserve, _announced(scope))
        # The quota counts it while it arrives.
        request = Request(scope, _counted(bounded(receive, MAX_BODY, _TIMEOUT)))
        content_type = _without_charset(request.headers.get("content-type", ""))
        with _Form(content_type, request.stream(), address) as form:
            upload = (await form.parse()).get("files")
            if not isinstance(upload, UploadFile):
                raise RefusedError(_MALFORMED)
            if (upload.size or 0) > MAX_UPLOAD:
                raise RefusedError(too_large(MAX_UPLOAD))
            return JSONResponse([form.keep()])
    except MultiPartException:
        raise RefusedError(_MALFORMED) from None
    except OSError as error:
        if is_disk_full(error):
            raise RefusedError(_FULL) from None
        raise
    finally:
        _arriving[address] -= 1
        if not _arriving[address]:
            del _arriving[address]


class _Form(MultiPartParser):
    """A form of one file, which is written to its place in the upload folder while it arrives."""

    def __init__(self, content_type: str, stream: AsyncGenerator[bytes], address: str) -> None:
        headers = Headers({"content-type": content_type})
        super().__init__(headers, stream, max_files=1, max_fields=0)
        self._address = address
        self._folder: Path | None = None
        self._file: BinaryIO | None = None

    def keep(self) -> str:
        """Keep the file, which else is deleted at the end, and return its path."""
        assert self._file is not None
        self._file.close()
        self._folder = None
        return self._file.name

    def on_headers_finished(self) -> None:
        super().on_headers_finished()
        if (upload := self._current_part.file) is not None:
            name = strip_invalid_filename_characters(Path(upload.filename or "").name)
            self._folder = new_folder(self._address)
            path = self._folder / (name if name.strip(".") else "picture")
            self._file = upload.file = path.open("xb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            with suppress(OSError):  # what was not written yet, on a full disk
                self._file.close()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)


def _announced(scope: Scope) -> int:
    """Return how many bytes a request says that it has; 0 if it does not say."""
    return int(Headers(scope=scope).get("content-length", "0"))


def _without_charset(content_type: str) -> str:
    kind, options = parse_options_header(content_type)
    boundary = options.get(b"boundary", b"").decode("latin-1")
    if kind != b"multipart/form-data" or not re.fullmatch(
        r"[\w'()+,./:=? -]{1,70}", boundary, re.A
    ):
        raise RefusedError(_MALFORMED)
    return f'multipart/form-data; boundary="{boundary}"'


def _counted(receive: Receive) -> Receive:
    async def receive_counted() -> Message:
        message = await receive()
        await asyncio.to_thread(quota.add, len(message.get("body", b"")))
        return message

    return receive_counted


class UploadMissingError(ValueError):
    """An upload was deleted: the client may upload it again."""

    def __init__(self) -> None:
        super().__init__("The picture is no longer on the server. Please upload it again.")


def uploaded_file(path: str | Path) -> Path:
    """Return the resolved path of an upload.

    Raises:
        UploadMissingError: It was deleted.
        ValueError: The path is not in the upload folder.
    """
    folder = upload_folder().resolve()
    try:
        resolved = Path(path).resolve()
        if resolved.is_relative_to(folder) and resolved.is_file():
            return resolved
        missing = resolved.is_relative_to(folder) and not resolved.exists()
    except (OSError, ValueError):  # the name is too long, or contains a null byte
        missing = False
    raise UploadMissingError if missing else ValueError(_REFUSAL)


_REFUSAL = (
    "Please upload the picture: paths and web addresses are not opened. In Python, pass "
    "handle_file('photo.jpg') from gradio_client."
)


class UploadedPicture(UnfetchedImage):
    """A `gr.Image` that passes on the path of the uploaded file, unopened.

    `gr.Image` itself opens any path or address that an API call names. This one accepts files in
    Gradio's upload folder only, and leaves decoding to `gradcam_core`.
    """

    refusal = _REFUSAL

    def preprocess(self, payload: Any) -> str | None:
        if payload is None:
            return None
        try:
            return str(uploaded_file(payload.path or ""))
        except ValueError as error:
            raise gr.Error(str(error), print_exception=False) from None
