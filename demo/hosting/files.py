"""Serves files of the upload folder: uploads, and results to download.

Their addresses cannot be guessed (`new_folder`), so that only who got one can open it.
"""

import hashlib
import re
import secrets
from pathlib import Path

from starlette.responses import FileResponse

from demo.hosting.gradio_internals import upload_folder
from demo.hosting.refusals import NOT_FOUND, RefusedError

# Browsers run no scripts in these; all other files are only saved.
_SHOWN = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
    ".gif": "image/gif",
}
_HEADERS = {
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'none'; sandbox",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "private, no-store",
}

_NAME = re.compile("([0-9a-f]{8})[0-9a-f]{32}")
_SECRET = secrets.token_bytes(16)


def new_folder(address: str | None) -> Path:
    """Create a folder in the upload folder, whose name nobody can guess.

    Args:
        address: Of the client whose files it is for, see `owner`; None if unknown.
    """
    tag = hashlib.blake2b((address or "").encode(), key=_SECRET, digest_size=4).hexdigest()
    folder = upload_folder() / (tag + secrets.token_hex(16))
    folder.mkdir(mode=0o700, parents=True)
    return folder


def owner(file: Path) -> str:
    """Return the same for all files of a client that lie in folders of `new_folder`, else ""."""
    found = _NAME.fullmatch(file.parent.name)
    return found[1] if found else ""


def file_response(path: str) -> FileResponse:
    """Return the answer to a request for a file.

    Args:
        path: As the client sends it, decoded.

    Raises:
        RefusedError: It is not the plain path of a regular file in a folder of `new_folder`: an
            address, a relative or climbing path, a link, a folder, or there is no such file.
    """
    file = Path(path)
    try:
        inside = file.relative_to(upload_folder())
        plain = str(file) == path and file.resolve() == upload_folder().resolve() / inside
        found = plain and _NAME.fullmatch(inside.parts[0]) and file.is_file()
    except (OSError, ValueError, IndexError):  # not below the folder; too long a name; a null byte
        found = False
    if not found:
        raise RefusedError(NOT_FOUND)
    media_type = _SHOWN.get(file.suffix.lower())
    return FileResponse(
        file,
        filename=file.name,
        media_type=media_type or "application/octet-stream",
        content_disposition_type="inline" if media_type else "attachment",
        headers=_HEADERS,
    )
