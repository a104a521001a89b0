"""The picture input: opens no file but those that a user uploaded."""

from pathlib import Path
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder


class UploadedPicture(gr.Image):
    """A `gr.Image` that hands on the path of the uploaded file, unopened.

    `gr.Image` itself opens whatever path or address an API call names; this one refuses all
    that does not lie in Gradio's upload folder, and leaves decoding to `gradcam_core.image`.
    """

    is_template = True  # the browser shows the ordinary image component

    def preprocess(self, payload: Any) -> str | None:
        if payload is None:
            return None
        path = Path(payload.path or "").resolve()
        if not path.is_relative_to(Path(get_upload_folder()).resolve()) or not path.is_file():
            raise gr.Error(_REFUSED, print_exception=False)
        return str(path)

    async def async_move_resource_to_block_cache(
        self, url_or_file_path: str | Path | None
    ) -> str | None:
        if str(url_or_file_path).casefold().startswith(("http:", "https:")):
            raise gr.Error(_REFUSED, print_exception=False)
        return await super().async_move_resource_to_block_cache(url_or_file_path)


_REFUSED = "Please upload the picture: paths and web addresses are not opened."
