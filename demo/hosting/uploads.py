"""What visitors upload: nothing else of this machine is opened."""

from pathlib import Path
from typing import Any

import gradio as gr
from gradio.data_classes import ImageData
from gradio.utils import get_upload_folder
from pydantic import model_validator


class GoneError(ValueError):
    """An upload is not there any more: it may be sent again."""

    def __init__(self) -> None:
        super().__init__("The picture has been removed in the meantime: please upload it again.")


def uploaded(path: str | Path) -> Path:
    """Return the resolved path of an upload.

    Raises:
        GoneError: It is not there any more.
        ValueError: It is not in the upload folder.
    """
    folder = Path(get_upload_folder()).resolve()
    try:
        resolved = Path(path).resolve()
        if resolved.is_relative_to(folder) and resolved.is_file():
            return resolved
        gone = resolved.is_relative_to(folder) and not resolved.exists()
    except (OSError, ValueError):  # too long a name, a zero byte
        gone = False
    raise GoneError if gone else ValueError(_REFUSED)


class _ImageData(ImageData):
    """What a client sends for a picture: of it the path counts, and anything else has none.

    Gradio itself would answer with what its schema says, and a traceback in the log.
    """

    @model_validator(mode="before")
    @classmethod
    def _path_only(cls, sent: Any) -> dict[str, str]:
        path = sent.get("path") if isinstance(sent, dict) else None
        return {"path": path if isinstance(path, str) else ""}


class UploadedPicture(gr.Image):
    """A `gr.Image` that hands on the path of the uploaded file, unopened.

    `gr.Image` itself opens whatever path or address an API call names; this one refuses all
    that does not lie in Gradio's upload folder, and leaves decoding to `gradcam_core`.
    """

    is_template = True  # the browser shows the ordinary image component
    data_model = _ImageData

    def preprocess(self, payload: Any) -> str | None:
        if payload is None:
            return None
        try:
            return str(uploaded(payload.path or ""))
        except ValueError as error:
            raise gr.Error(str(error), print_exception=False) from None

    async def async_move_resource_to_block_cache(
        self, url_or_file_path: str | Path | None
    ) -> str | None:
        if str(url_or_file_path).casefold().startswith(("http:", "https:")):
            raise gr.Error(_REFUSED, print_exception=False)
        return await super().async_move_resource_to_block_cache(url_or_file_path)


_REFUSED = (
    "Please upload the picture: paths and web addresses are not opened. In Python, give "
    "handle_file('photo.jpg') of gradio_client."
)
