"""Each undocumented part of Gradio that the demo uses is there, or a test case names it.

If a case fails after an upgrade of Gradio, `demo/hosting/gradio_internals.py` says what the part is
used for.
"""

import importlib
import inspect
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from fastapi import Request

ROOT = Path(__file__).parents[3]

# Names in modules, and of methods with the parameters that we pass or override.
PARTS: dict[str, list[str] | None] = {
    "gradio.context:LocalContext.blocks": None,
    "gradio.context:LocalContext.event_id": None,
    "gradio.context:LocalContext.progress": None,
    "gradio.data_classes:ImageData.model_fields": None,
    "gradio.data_classes:PredictBodyInternal.model_fields": None,
    "gradio.events:EventData": ["target", "_data"],
    "gradio.helpers:Progress.__next__": ["self"],
    "gradio.helpers:Progress._progress_callback": [],
    "gradio.helpers:Progress.tqdm": ["self", "iterable", "desc", "total", "unit", "_tqdm"],
    "gradio.helpers:Progress.update": ["self", "n"],
    "gradio.helpers:TrackedIterable": ["iterable", "index", "length", "desc", "unit", "_tqdm"],
    "gradio.components:Image.async_move_resource_to_block_cache": ["self", "url_or_file_path"],
    "gradio.components:Image.get_block_name": ["self"],
    "gradio.queueing:Event": ["session_hash", "fn", "request", "username"],
    "gradio.queueing:Queue": [
        "live_updates",
        "concurrency_count",
        "update_intervals",
        "max_size",
        "blocks",
        "default_concurrency_limit",
    ],
    "gradio.queueing:Queue.broadcast_estimations": ["self", "concurrency_id"],
    "gradio.queueing:Queue._cancel_asyncio_tasks": ["self"],
    "gradio.queueing:Queue.clean_events": ["self", "session_hash", "event_id"],
    "gradio.queueing:Queue.close": ["self"],
    "gradio.queueing:Queue.get_events": ["self"],
    "gradio.queueing:Queue.process_events": ["self", "events", "batch", "begin_time", "fn"],
    "gradio.queueing:Queue.set_server_app": ["self", "app"],
    "gradio.queueing:Queue.start": ["self"],
    "gradio.queueing:Queue.start_processing": ["self"],
    "gradio.queueing:Queue.start_progress_updates": ["self"],
    "gradio.queueing:Queue.push": ["self", "body", "request", "username"],
    "gradio.queueing:Queue.send_message": ["self", "event", "event_message"],
    "gradio.route_utils:FileUploadProgress.append": [
        "self",
        "upload_id",
        "filename",
        "message_bytes",
    ],
    "gradio.route_utils:FileUploadProgress.is_tracked": ["self", "upload_id"],
    "gradio.route_utils:FileUploadProgress.set_done": ["self", "upload_id"],
    "gradio.route_utils:FileUploadProgress.track": ["self", "upload_id"],
    "gradio.routes:App.get_blocks": ["self"],
    "gradio.routes:file_upload_statuses": None,
    "gradio.server_messages:ProcessCompletedMessage.model_fields": None,
    "gradio.state_holder:SessionState._update_value_in_config": ["self", "key", "value"],
    "gradio.state_holder:StateHolder.__getitem__": ["self", "session_id"],
    "gradio.state_holder:StateHolder.set_blocks": ["self", "blocks"],
    "gradio.utils:get_upload_folder": [],
}


@pytest.mark.parametrize("part", PARTS)
def test_gradio_has(part: str) -> None:
    module, _, path = part.partition(":")
    found: Any = importlib.import_module(module)
    for name in path.split("."):
        assert hasattr(found, name), f"Gradio {gr.__version__} has no {part}"
        found = getattr(found, name)
    expected = PARTS[part]
    if expected is not None:
        parameters = [*inspect.signature(found).parameters]
        assert parameters[: len(expected)] == expected


@pytest.fixture(scope="module")
def demo() -> gr.Blocks:
    with gr.Blocks() as demo:
        gr.Button().click(lambda: None)
    return demo.queue()


@pytest.fixture(scope="module")
def event(demo: gr.Blocks) -> Any:
    from gradio.queueing import Event

    (function,) = demo.fns.values()
    return Event("session", function, Request({"type": "http", "client": ("::1", 9)}), None)


@pytest.mark.parametrize(
    "name", ["_queue", "app", "fns", "max_threads", "state_session_capacity", "temp_file_sets"]
)
def test_blocks_have(demo: gr.Blocks, name: str) -> None:
    assert hasattr(demo, name)


@pytest.mark.parametrize(
    "name",
    [
        "active_jobs",
        "blocks",
        "event_ids_to_events",
        "event_queue_per_concurrency_id",
        "max_thread_count",
        "pending_event_ids_session",
        "pending_messages_per_session",
        "stopped",
    ],
)
def test_a_queue_has(demo: gr.Blocks, name: str) -> None:
    assert hasattr(demo._queue, name)


@pytest.mark.parametrize(
    "name",
    ["_id", "alive", "concurrency_id", "data", "enqueue_time", "fn", "request", "session_hash"],
)
def test_an_event_has(event: Any, name: str) -> None:
    assert hasattr(event, name)


@pytest.mark.parametrize("name", ["concurrency_limit", "outputs"])
def test_a_function_has(event: Any, name: str) -> None:
    assert hasattr(event.fn, name)


@pytest.mark.parametrize("name", ["event_data", "fn_index", "session_hash"])
def test_a_request_body_has(name: str) -> None:
    from gradio.data_classes import PredictBodyInternal

    assert name in PredictBodyInternal.model_fields


@pytest.mark.parametrize("name", ["output", "success"])
def test_a_completed_message_has(name: str) -> None:
    from gradio.server_messages import ProcessCompletedMessage

    assert name in ProcessCompletedMessage.model_fields


def test_a_queue_per_concurrency_id_has_a_list_of_events(demo: gr.Blocks, event: Any) -> None:
    demo._queue.create_event_queue_for_fn(event.fn)
    (queue,) = demo._queue.event_queue_per_concurrency_id.values()
    assert queue.queue == []


def test_event_data_holds_the_payload() -> None:
    assert gr.EventData(None, {"id": 3})._data == {"id": 3}


def test_tqdm_reports_to_the_progress_of_the_context() -> None:
    from tqdm import tqdm

    from demo.hosting.gradio_internals import ReportedProgress, active_progress

    steps: list[Any] = []
    with active_progress(ReportedProgress(lambda *step: steps.append(step))):
        for _ in tqdm(range(3), desc="three"):
            pass
    assert steps[0] == ("three", 0, 3)
    assert steps[-1][1] == 3


def test_no_other_module_uses_undocumented_parts() -> None:
    """Looks for the modules, and for the attributes whose names nothing else has."""
    undocumented = ["gradio.context", "gradio.data_classes", "gradio.helpers", "gradio.queueing"]
    undocumented += ["gradio.route_utils", "gradio.routes", "gradio.server_messages"]
    undocumented += ["gradio.utils", "LocalContext", "._queue", "._data", "is_template"]
    undocumented += ["temp_file_sets", "_progress_callback", ".event_ids_to_events"]
    for file in (ROOT / "demo").rglob("*.py"):
        if file.name != "gradio_internals.py":
            source = file.read_text("utf-8")
            assert [name for name in undocumented if name in source] == [], file
