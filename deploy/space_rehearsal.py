"""A rehearsal of what Hugging Face Spaces does with this repository; for Linux.

    python -m deploy.space_rehearsal             as on CPU hardware
    python -m deploy.space_rehearsal --zero-gpu  as on ZeroGPU (stand-in for `spaces`)

Builds an environment from `requirements.lock`, starts the app in it as a Space does, opens the
page, asks in each tab, and prints what that took. Ends with 1 and a sentence if anything fails.
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
_PATIENCE = 1800.0  # seconds for the page, as Spaces has it
_MAX_MEMORY = 16 * 10**9  # bytes that a free Space has
_COLOURS = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}
_REQUIRED = (
    *("title", "emoji", "colorFrom", "colorTo", "sdk", "sdk_version", "python_version"),
    *("app_file", "license", "models", "short_description"),
)

# The one network for which ZeroGPU is asked: only those that are no part of this repository are.
_WITH_GPU = "squeezenet1_1"
_RANDOM_WEIGHTS = f"""
import pathlib, sys, torch, torchvision
weights = torchvision.models.get_model_weights("{_WITH_GPU}").IMAGENET1K_V1
file = pathlib.Path(sys.argv[1], "hub", "checkpoints", pathlib.Path(weights.url).name)
file.parent.mkdir(parents=True)
torch.manual_seed(0)
torch.save(torchvision.models.get_model("{_WITH_GPU}").state_dict(), file)
"""


def front_matter(readme: Path) -> dict[str, Any]:
    """Return what the head of a README tells Spaces.

    Raises:
        ValueError: Something is missing in it, or cannot be so.
    """
    told: dict[str, Any] = metadata_load(readme) or {}
    missing = [key for key in _REQUIRED if not told.get(key)]
    if missing:
        raise ValueError(f"{readme.name} does not tell Spaces: {', '.join(missing)}.")
    if told["sdk"] != "gradio":
        raise ValueError(f"sdk is {told['sdk']}, not gradio.")
    if not {told["colorFrom"], told["colorTo"]} <= _COLOURS:
        raise ValueError(f"Spaces has these colours only: {', '.join(sorted(_COLOURS))}.")
    if len(told["short_description"]) > 60:
        raise ValueError("short_description is longer than 60 characters.")
    if not isinstance(told["python_version"], str):  # 3.10 would be 3.1
        raise ValueError("python_version must stand in quotation marks.")
    if not (readme.parent / told["app_file"]).is_file():
        raise ValueError(f"There is no {told['app_file']}.")
    return told


def requirements(file: Path) -> list[Requirement]:
    """Return the requirements that a file lists."""
    lines = (line.partition("#")[0].strip() for line in file.read_text("utf-8").splitlines())
    return [Requirement(line) for line in lines if line]


def rehearse(
    zero_gpu: Annotated[bool, typer.Option("--zero-gpu", help="As on ZeroGPU")] = False,
    python: Annotated[
        Path | None, typer.Option(help="Python of an environment to use instead of a new one")
    ] = None,
) -> None:
    """Rehearse what Hugging Face Spaces does with this repository."""
    try:
        told = front_matter(ROOT / "README.md")
        print(f"Front matter: {told['title']}, Gradio {told['sdk_version']}, {told['license']}")
        with tempfile.TemporaryDirectory(prefix="space-") as temporary:
            space = Path(temporary)
            _copy(space / "app")
            start = time.perf_counter()
            python = python or _environment(space, told["sdk_version"], with_spaces=not zero_gpu)
            print(f"Environment: {_versions(python)}, {time.perf_counter() - start:.0f} s")
            home = space / "home"
            home.mkdir()
            if zero_gpu:
                script = [python, "-c", _RANDOM_WEIGHTS, home / ".cache" / "torch"]
                subprocess.run(script, check=True)
            with _started(python, space, told["app_file"], zero_gpu=zero_gpu) as (app, address):
                _ask(address, with_gpu=zero_gpu)
                peak = _peak_memory(app)
                print(f"Memory: {peak / 10**9:.2f} GB at most")
            if peak > _MAX_MEMORY:
                raise ValueError("That is more than a Space has.")
    except (ValueError, OSError, subprocess.CalledProcessError) as error:
        typer.echo(error, err=True)
        raise typer.Exit(1) from None


def _copy(folder: Path) -> None:
    """Copy what is under version control."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True).stdout
    for name in listed.decode().splitlines():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, target)


def _environment(space: Path, sdk_version: str, *, with_spaces: bool) -> Path:
    """Install as Spaces does where the lock stands for `requirements.txt`; return its Python."""
    subprocess.run([sys.executable, "-m", "venv", space / "environment"], check=True)
    python = space / "environment" / "bin" / "python"
    install = [python, "-m", "pip", "install", "-q", "-r", ROOT / "requirements.lock"]
    # Spaces adds these.
    install += [f"gradio[oauth,mcp]=={sdk_version}", "uvicorn>=0.14.0", "websockets>=10.4"]
    subprocess.run([*install, "spaces"] if with_spaces else install, check=True)
    return python


def _versions(python: Path) -> str:
    script = (
        "import platform, gradio, torch;"
        "print('Python', platform.python_version(), 'torch', torch.__version__,"
        " 'Gradio', gradio.__version__)"
    )
    done = subprocess.run([python, "-c", script], check=True, capture_output=True, text=True)
    return done.stdout.strip()


@contextmanager
def _started(
    python: Path, space: Path, app_file: str, *, zero_gpu: bool
) -> Iterator[tuple[int, str]]:
    """Run the app until its page opens, and end it; give its process id and its address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    settings = {
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
        settings |= {"SPACES_ZERO_GPU": "true", "PYTHONPATH": str(stand_in)}
    else:
        settings["SYSTEM"] = "spaces"  # Gradio then wants more of `spaces` than the stand-in has
    address = f"http://127.0.0.1:{port}"
    log = space / "log"
    start = time.perf_counter()
    with log.open("wb") as output:
        app = subprocess.Popen(
            [python, app_file],
            cwd=space / "app",
            env=settings,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        while not _opens(address):
            if app.poll() is not None or time.perf_counter() - start > _PATIENCE:
                raise ValueError(f"The page does not open. The app said:\n{log.read_text()}")
            time.sleep(0.1)
        print(f"Page: {time.perf_counter() - start:.1f} s from the start of the app")
        yield app.pid, address
    finally:
        app.send_signal(signal.SIGINT)
        try:
            app.wait(30)
        except subprocess.TimeoutExpired:
            app.kill()


def _opens(address: str) -> bool:
    """Tell whether the page is there, asked for by the name that a Space has outside."""
    try:
        return httpx.get(address, headers={"Host": _HOST}, timeout=30).status_code == 200
    except httpx.TransportError:
        return False


def _ask(address: str, *, with_gpu: bool) -> None:
    """Ask in each tab; on ZeroGPU also a network that needs its GPU.

    Raises:
        ValueError: There is no answer.
    """
    from demo.examples import example_pictures

    picture = handle_file(next(iter(example_pictures().values())))
    client = Client(address, verbose=False)
    questions: list[dict[str, Any]] = [
        {"api_name": "/classify"},
        {"api_name": "/caption"},
        {"api_name": "/vqa", "question": "What animal is this?"},
    ]
    if with_gpu:
        questions.append({"api_name": "/classify", "model": _WITH_GPU})
    for question in questions:
        start = time.perf_counter()
        summary, *_, numbers = client.predict(picture=picture, **question)[:7]
        if not any(map(any, numbers["raw"])):
            raise ValueError(f"{question['api_name']} has no map: {summary}")
        asked = " ".join(question.values())
        print(f"{asked}: {numbers['target']}, {time.perf_counter() - start:.1f} s")


def _peak_memory(process: int) -> int:
    """Return the most bytes that a process and those it started have had, each at its own peak."""
    try:
        proc = Path("/proc") / str(process)
        status = (proc / "status").read_text()
        children = [task.read_text().split() for task in (proc / "task").glob("*/children")]
    except OSError:  # it has ended meanwhile
        return 0
    peaks = (line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))
    own = int(next(peaks, "0")) * 1024
    return own + sum(_peak_memory(int(child)) for each in children for child in each)


if __name__ == "__main__":
    typer.run(rehearse)
