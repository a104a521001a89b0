"""Uploaded pictures; no other file of the server is opened."""

from pathlib import Path
from typing import Any

import gradio as gr

from demo.hosting.gradio_internals import UnfetchedImage, upload_folder


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
