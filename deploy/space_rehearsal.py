"""Rehearse what Hugging Face Spaces does with this repository; for Linux.

    python -m deploy.space_rehearsal             as on CPU hardware
    python -m deploy.space_rehearsal --zero-gpu  as on ZeroGPU, with a stand-in for `spaces`

It builds an environment from `requirements.lock`, starts the app in it as a Space does, opens the
page, sends a query in each tab, and prints the times. It exits with 1 and a message if a step
fails.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from gradio_client import Client, handle_file
from huggingface_hub import metadata_load
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]

_HOST = "somebody-grad-cam.hf.space"
_START_TIMEOUT = 1800.0  # seconds until the page must open, as on Spaces
_MAX_MEMORY = 16 * 10**9  # bytes of a free Space
_COLOURS = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}
_REQUIRED = (
    *("title", "emoji", "colorFrom", "colorTo", "sdk", "sdk_version", "python_version"),
    *("app_file", "license", "models", "short_description"),
)

# Only networks that are downloaded use the GPU of ZeroGPU. This one gets random weights.
_GPU_MODEL = "squeezenet1_1"
_SAVE_RANDOM_WEIGHTS = f"""
import pathlib, sys, torch, torchvision
weights = torchvision.models.get_model_weights("{_GPU_MODEL}").IMAGENET1K_V1
file = pathlib.Path(sys.argv[1], "hub", "checkpoints", pathlib.Path(weights.url).name)
file.parent.mkdir(parents=True)
torch.manual_seed(0)
torch.save(torchvision.models.get_model("{_GPU_MODEL}").state_dict(), file)
"""
_QUERIES: list[dict[str, Any]] = [
    {"api_name": "/classify"},
    {"api_name": "/caption"},
    {"api_name": "/vqa", "question": "What animal is this?"},
]


def front_matter(readme: Path) -> dict[str, Any]:
    """Return the settings for Spaces at the head of a README.

    Raises:
        ValueError: One is missing or not allowed.
    """
    settings: dict[str, Any] = metadata_load(readme) or {}
    missing = [key for key in _REQUIRED if not settings.get(key)]
    if missing:
        raise ValueError(f"The head of {readme.name} lacks: {', '.join(missing)}.")
    if settings["sdk"] != "gradio":
        raise ValueError(f"sdk is {settings['sdk']}, not gradio.")
    if not {settings["colorFrom"], settings["colorTo"]} <= _COLOURS:
        raise ValueError(f"Spaces has only these colours: {', '.join(sorted(_COLOURS))}.")
    if len(settings["short_description"]) > 60:
        raise ValueError("short_description is longer than 60 characters.")
    if not isinstance(settings["python_version"], str):  # 3.10 would be 3.1
        raise ValueError("python_version must be in quotation marks.")
    if not (readme.parent / settings["app_file"]).is_file():
        raise ValueError(f"There is no {settings['app_file']}.")
    return settings


def requirements(file: Path) -> list[Requirement]:
    """Return the requirements that a file lists, without those of files that it includes."""
    lines = (line.partition("#")[0].strip() for line in file.read_text("utf-8").splitlines())
    return [Requirement(line) for line in lines if line and not line.startswith("-")]


def rehearse(
    zero_gpu: Annotated[bool, typer.Option("--zero-gpu", help="As on ZeroGPU")] = False,
    python: Annotated[
        Path | None, typer.Option(help="Python of an existing environment to use")
    ] = None,
) -> None:
    """Rehearse what Hugging Face Spaces does with this repository."""
    try:
        settings = front_matter(ROOT / "README.md")
        print(f"Front matter: {settings['title']}, Gradio {settings['sdk_version']}")
        with tempfile.TemporaryDirectory(prefix="space-") as temporary:
            space = Path(temporary)
            _copy_repository(space / "app")
            if python is None:
                python = _install(space, settings["sdk_version"], with_spaces=not zero_gpu)
            print(f"Environment: {_versions(python)}")
            peak = _run(python, space, settings["app_file"], zero_gpu=zero_gpu)
        print(f"Memory: {peak / 10**9:.2f} GB at most")
        if peak > _MAX_MEMORY:
            raise ValueError("A Space has less memory than that.")
    except (ValueError, OSError, subprocess.CalledProcessError) as error:
        typer.echo(error, err=True)
        raise typer.Exit(1) from None


def _copy_repository(folder: Path) -> None:
    """Copy the files that are under version control."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True).stdout
    for name in listed.decode().splitlines():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, target)


def _install(space: Path, sdk_version: str, *, with_spaces: bool) -> Path:
    """Install as Spaces does, with the lock as `requirements.txt`; return the new Python."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "venv", space / "environment"], check=True)
    python = space / "environment" / "bin" / "python"
    packages = [f"gradio[oauth,mcp]=={sdk_version}", "uvicorn>=0.14.0", "websockets>=10.4"]
    packages += ["spaces"] if with_spaces else []  # Spaces adds all of these.
    install = [str(python), "-m", "pip", "install", "-q", "-r", str(ROOT / "requirements.lock")]
    subprocess.run([*install, *packages], check=True)
    print(f"Installation: {time.perf_counter() - start:.0f} s")
    return python


def _versions(python: Path) -> str:
    script = (
        "import platform, gradio, torch;"
        "print('Python', platform.python_version(), 'torch', torch.__version__,"
        " 'Gradio', gradio.__version__)"
    )
    done = subprocess.run([python, "-c", script], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def _run(python: Path, space: Path, app_file: str, *, zero_gpu: bool) -> int:
    """Start the app, send the queries, and return its peak memory in bytes."""
    home = space / "home"
    home.mkdir()
    queries = list(_QUERIES)
    if zero_gpu:
        cache = home / ".cache" / "torch"
        subprocess.run([python, "-c", _SAVE_RANDOM_WEIGHTS, cache], check=True)
        queries.append({"api_name": "/classify", "model": _GPU_MODEL})
    with _app(python, space, app_file, zero_gpu=zero_gpu) as (app, address):
        _send(address, queries)
        return _peak_memory(app)


@contextmanager
def _app(python: Path, space: Path, app_file: str, *, zero_gpu: bool) -> Iterator[tuple[int, str]]:
    """Run the app; give its process id and its address once its page opens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    log = space / "log"
    start = time.perf_counter()
    with log.open("wb") as output:
        app = subprocess.Popen(
            [python, app_file],
            cwd=space / "app",
            env=_environment(space, port, zero_gpu=zero_gpu),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        while not _opens(address):
            if app.poll() is not None or time.perf_counter() - start > _START_TIMEOUT:
                raise ValueError(f"The page does not open. The app's output:\n{log.read_text()}")
            time.sleep(0.1)
        print(f"Page: {time.perf_counter() - start:.1f} s from the start of the app")
        yield app.pid, address
    finally:
        app.send_signal(signal.SIGINT)
        try:
            app.wait(30)
        except subprocess.TimeoutExpired:
            app.kill()


def _environment(space: Path, port: int, *, zero_gpu: bool) -> dict[str, str]:
    """Return the environment variables of a Space."""
    variables = {
        "PATH": os.environ["PATH"],
        "HOME": str(space / "home"),
        "SPACE_ID": "somebody/grad-cam",
        "SPACE_HOST": _HOST,
        "GRADIO_SERVER_NAME": "0.0.0.0",
        "GRADIO_SERVER_PORT": str(port),
        "GRADIO_TEMP_DIR": str(space / "uploads"),
    }
    if zero_gpu:
        stand_in = ROOT / "deploy" / "zero_gpu_stand_in"
        return variables | {"SPACES_ZERO_GPU": "true", "PYTHONPATH": str(stand_in)}
    # Not with the stand-in, which lacks what Gradio then needs of `spaces`.
    return variables | {"SYSTEM": "spaces"}


def _opens(address: str) -> bool:
    """Tell whether the page opens under the Space's public name."""
    try:
        return httpx.get(address, headers={"Host": _HOST}, timeout=30).status_code == 200
    except httpx.TransportError:
        return False


def _send(address: str, queries: list[dict[str, Any]]) -> None:
    """Send queries about an example picture.

    Raises:
        ValueError: An answer has no map.
    """
    from demo.examples import example_pictures

    picture = handle_file(next(iter(example_pictures().values())))
    client = Client(address, verbose=False)
    for query in queries:
        start = time.perf_counter()
        answer = client.predict(picture=picture, **query)
        explanation = next(each for each in answer if isinstance(each, dict) and "raw" in each)
        if not any(map(any, explanation["raw"])):
            raise ValueError(f"{query['api_name']} returned an empty map.")
        seconds = time.perf_counter() - start
        print(f"{' '.join(query.values())}: {explanation['target']}, {seconds:.1f} s")


def _peak_memory(process: int) -> int:
    """Return the sum of the peak memory of a process and of those it started, in bytes."""
    try:
        proc = Path("/proc") / str(process)
        status = (proc / "status").read_text()
        children = [task.read_text().split() for task in (proc / "task").glob("*/children")]
    except OSError:  # it has ended
        return 0
    peaks = (line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))
    own = int(next(peaks, "0")) * 1024
    return own + sum(_peak_memory(int(child)) for each in children for child in each)


if __name__ == "__main__":
    typer.run(rehearse)
