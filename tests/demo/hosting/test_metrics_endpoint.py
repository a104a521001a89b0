"""GET /metrics: how the server is used, for Prometheus."""

from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.support.session import Session


def read(address: str) -> dict[tuple[str, tuple[str, ...]], float]:
    """Every value by name and labels."""
    text = httpx.get(f"{address}metrics", timeout=60).text
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_requests_answers_refusals_and_cache_hits_are_counted(address: str) -> None:
    page = Session(address)

    def use() -> None:
        page.answer("first", id=1, example="palace")
        page.answer("first", id=2, example="none")
        httpx.get(f"{address}none")

    use()
    before = read(address)
    use()
    after = read(address)

    def grown(name: str, *labels: str) -> float:
        return after.get((name, labels), 0) - before.get((name, labels), 0)

    assert grown("gradcam_answer_seconds_count", "page_first") == 2
    assert grown("gradcam_answer_seconds_sum", "page_first") > 0
    assert grown("gradcam_wait_seconds_count") == 2
    assert grown("gradcam_failed_total", "bad_request") == 1
    assert grown("gradcam_refused_total", "route") == 1
    assert grown("gradcam_http_requests_total", "other", "404") == 1
    assert grown("gradcam_http_requests_total", "/gradio_api/queue/join", "200") == 2
    assert grown("gradcam_cache_lookups", "pictures", "hit") >= 1
    assert grown("gradcam_cache_lookups", "pictures", "miss") == 0


def test_gauges_tell_of_queue_memory_and_disk(address: str) -> None:
    found = read(address)
    assert found["process_resident_memory_bytes", ()] > 10**8
    assert found["gradcam_disk_free_bytes", ()] > 0
    assert found["gradcam_uploads_limit_bytes", ()] == 2e9
    assert found["gradcam_queue_waiting", ()] == found["gradcam_queue_running", ()] == 0


def test_what_clients_send_makes_no_new_series(address: str) -> None:
    def series() -> set[Any]:
        return {key for key in read(address) if "bucket" not in key[0]}

    httpx.get(f"{address}none")
    httpx.request("X", f"{address}none")
    before = series()
    for number in range(20):
        httpx.get(f"{address}none{number}")
        httpx.request(f"M{number}", address)
        httpx.get(f"{address}gradio_api/file={number}")
        httpx.get(f"{address}browser/{number}/x.js")
    assert len(series() - before) <= 6
