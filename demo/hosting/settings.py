"""All settings: environment variables, each with type, default and meaning.

`docs/settings_table.py` makes the table in docs/settings.md from them. Nothing heavy is imported
here: wrong values are reported before anything else starts.
"""

import difflib
import ipaddress
import os
import re
import sys
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

_HOST_PATTERN = re.compile(r"\*|(\*\.)?[A-Za-z0-9_.-]{1,253}|[0-9A-Fa-f:.]{2,45}")
_USER = re.compile(r"[^:,\s]+:[^,]+")


def _split(sent: Any) -> Any:
    """Return the parts of a text, which are separated by commas."""
    if isinstance(sent, SecretStr):
        sent = sent.get_secret_value()
    if isinstance(sent, str):
        return tuple(part.strip() for part in sent.split(",") if part.strip())
    return sent


Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
Gigabytes = Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=10_000)]


class Settings(BaseSettings):
    """The settings of the page; empty variables count as not set, except `GRADCAM_HUB_MODELS`."""

    model_config = SettingsConfigDict(
        case_sensitive=True, extra="ignore", frozen=True, hide_input_in_errors=True
    )

    server_name: str = Field(
        "127.0.0.1",
        alias="GRADIO_SERVER_NAME",
        description="Address to listen on; `0.0.0.0` for all. Any but a loopback address makes the "
        "host public.",
    )
    server_port: int = Field(
        7860, ge=1, le=65535, alias="GRADIO_SERVER_PORT", description="Port to listen on."
    )
    root_path: str = Field(
        "",
        alias="GRADIO_ROOT_PATH",
        pattern=r"^((https?:/)?/\S+)?$",
        description="The path, or the whole address, under which a reverse proxy serves the page.",
    )
    allowed_hosts: Names = Field(
        (),
        alias="GRADCAM_ALLOWED_HOSTS",
        description="Host names to answer, separated by commas "
        "(`demo.example.org,*.example.net`; `*` for all). IP addresses, `localhost`, the machine's "
        "own name, `GRADIO_SERVER_NAME` and `SPACE_HOST` are always allowed.",
    )
    trusted_proxies: str = Field(
        "127.0.0.1",
        alias="FORWARDED_ALLOW_IPS",
        description="Addresses of reverse proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` "
        "are trusted, separated by commas; `*` for all.",
    )
    users: Annotated[tuple[SecretStr, ...], NoDecode, BeforeValidator(_split)] = Field(
        (),
        alias="GRADCAM_USERS",
        description="Who may use a private host: `ann:her-password,bob:another`. No commas or "
        "spaces in names, no commas in passwords.",
    )
    monitoring_token: SecretStr | None = Field(
        None,
        alias="GRADCAM_MONITORING_TOKEN",
        min_length=8,
        description="If set, `/health` and `/metrics` want `Authorization: Bearer TOKEN`. If not, "
        "they are open to this machine and private networks, by an IP address or `localhost`.",
    )
    log: Literal["text", "json"] = Field(
        "text", alias="GRADCAM_LOG", description="Format of the log: lines of text, or of JSON."
    )
    default_models: Names = Field(
        (),
        alias="GRADCAM_DEFAULT_MODELS",
        description="Models to use where none is chosen, at most one for each task, separated by "
        "commas (`lite2,blip-caption`). For a task without one it is the first in "
        "[the table](models.md).",
    )
    preload: Names = Field(
        (),
        alias="GRADCAM_PRELOAD",
        description="Models to load at the start, separated by commas; they are downloaded if need "
        "be. The default models of classification are loaded anyway.",
    )
    hub_models: Annotated[tuple[str, ...] | None, NoDecode, BeforeValidator(_split)] = Field(
        None,
        alias="GRADCAM_HUB_MODELS",
        description="Models of the Hugging Face Hub to offer besides the listed ones, separated by "
        "commas (`timm/*,microsoft/resnet-50`; `*` for all; empty for none). If not set: all on a "
        "private host, none on a public one.",
    )
    hub_models_gb: Gigabytes | None = Field(
        None,
        alias="GRADCAM_MODELS_GB",
        description="Quota of the hubs' caches in GB, whoever filled them; beyond it nothing is "
        "downloaded. If not set: 20 on a public host, else none.",
    )
    models: Count = Field(
        2, alias="GRADCAM_MODELS", description="Models kept in memory besides the embedded ones."
    )
    device: str | None = Field(
        None,
        alias="GRADCAM_DEVICE",
        pattern=r"^[a-z]{2,8}(:[0-9]{1,3})?$",
        description="Device to compute on, such as `cpu` or `cuda:1`. If not set: the GPU if there "
        "is one.",
    )
    temp_dir: str | None = Field(
        None,
        alias="GRADIO_TEMP_DIR",
        description="Parent of the folder for uploads and results: `gradcam-demo`, or a longer "
        "name if that is somebody else's. If not set: the system's temporary folder.",
    )
    uploads_gb: Gigabytes = Field(
        2.0, alias="GRADCAM_UPLOADS_GB", description="Quota of uploads and results in GB."
    )
    concurrency: Count = Field(
        4,
        alias="GRADCAM_CONCURRENCY",
        description="Requests of a kind that run at once; slow kinds have limits of their own. One "
        "address has at most one less.",
    )
    max_waiting: Count = Field(
        64, alias="GRADCAM_QUEUE", description="Requests that may wait, of all visitors together."
    )
    max_waiting_per_address: Count = Field(
        32, alias="GRADCAM_QUEUE_PER_ADDRESS", description="Requests of an address that may wait."
    )
    max_waiting_per_page: Count = Field(
        16, alias="GRADCAM_QUEUE_PER_PAGE", description="Requests of an open page that may wait."
    )
    agents: bool = Field(
        False,
        alias="GRADCAM_MCP",
        description="`1` offers the endpoints to AI agents as tools, by the Model Context Protocol "
        "([http.md](http.md#ai-agents)); needs the package `mcp`.",
    )
    space_id: str | None = Field(
        None,
        alias="SPACE_ID",
        description="Set by Hugging Face Spaces: the host is public, behind a proxy.",
    )
    space_host: str = Field(
        "", alias="SPACE_HOST", description="Set by Spaces: the host name to answer."
    )
    zero_gpu: str | None = Field(
        None, alias="SPACES_ZERO_GPU", description="Set by Spaces: compute on its ZeroGPU hardware."
    )

    @field_validator("allowed_hosts")
    @classmethod
    def _check_hosts(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if not _HOST_PATTERN.fullmatch(name):
                raise ValueError(f"{name!r} is no host name; write it without https:// and path")
        return tuple(name.lower() for name in names)

    @field_validator("users")
    @classmethod
    def _check_users(cls, users: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        pairs = [user.get_secret_value() for user in users]
        if not all(map(_USER.fullmatch, pairs)):
            raise ValueError("it has to be name:password, or several of these with commas between")
        if len({pair.partition(":")[0] for pair in pairs}) < len(pairs):
            raise ValueError("a name occurs twice")
        return users

    @property
    def is_public(self) -> bool:
        """Whether other machines can reach the server."""
        local = self.server_name == "localhost"
        with suppress(ValueError):  # a name
            local = ipaddress.ip_address(self.server_name.strip("[]")).is_loopback
        return self.space_id is not None or not local

    def passwords(self) -> list[tuple[str, str]]:
        """Return the names and passwords of `users`."""
        parts = (user.get_secret_value().partition(":") for user in self.users)
        return [(name, password) for name, _, password in parts]

    def model_for(self, task: str) -> str | None:
        """Return the default model that is set for a task; None if none is."""
        import gradcam_core

        known = {info.name for info in gradcam_core.models(task)}
        return next((name for name in self.default_models if name in known), None)


class SettingsError(ValueError):
    """The settings are wrong; the message has a line for each mistake."""


@cache
def settings() -> Settings:
    """Return the settings of this process.

    Raises:
        SettingsError: A value is wrong, or there is no such setting.
    """
    aliases = {str(field.alias) for field in Settings.model_fields.values()}
    mistakes = [
        _unknown(name, aliases) for name in sorted(os.environ) if _is_unknown(name, aliases)
    ]
    empty = {
        name for name in aliases - {"GRADCAM_HUB_MODELS"} if not os.environ.get(name, "x").strip()
    }
    for name in empty:
        del os.environ[name]
    try:
        found = Settings()  # type: ignore[call-arg]
    except ValidationError as error:
        mistakes += [
            f"{each['loc'][0]} is wrong: {_lower(each['msg'].removeprefix('Value error, '))}."
            for each in error.errors(include_url=False)
        ]
    if mistakes:
        raise SettingsError("\n".join(mistakes))
    return found


def check() -> None:
    """End the program with a sentence, and status 2, if the settings are wrong."""
    try:
        _check_models(settings())
        if settings().agents and find_spec("mcp") is None:
            raise SettingsError("GRADCAM_MCP needs the package mcp: pip install mcp")
    except SettingsError as error:
        print(f"{error}\nAll settings: docs/settings.md", file=sys.stderr)
        sys.exit(2)


def _check_models(found: Settings) -> None:
    if not (found.default_models or found.preload):
        return
    import gradcam_core

    tasks = {info.name: info.task for info in gradcam_core.models()}
    known = f"Known: {', '.join(tasks)}."
    for name in found.default_models:
        if name not in tasks:
            raise SettingsError(f"GRADCAM_DEFAULT_MODELS: there is no model {name!r}. {known}")
    for name in found.preload:
        if name not in tasks and "/" not in name:  # else on the Hugging Face Hub
            raise SettingsError(f"GRADCAM_PRELOAD: there is no model {name!r}. {known}")
    chosen = [tasks[name] for name in found.default_models]
    if len(set(chosen)) < len(chosen):
        raise SettingsError("GRADCAM_DEFAULT_MODELS names two models for the same task.")


def _is_unknown(name: str, aliases: set[str]) -> bool:
    return name.upper().startswith("GRADCAM_") and name not in aliases


def _unknown(name: str, aliases: set[str]) -> str:
    near = difflib.get_close_matches(name.upper(), sorted(aliases), 1)
    meant = f" Did you mean {near[0]}?" if near else ""
    return f"There is no setting {ascii(name)[1:-1]:.80}.{meant}"


def _lower(message: str) -> str:
    return message[:1].lower() + message[1:]
