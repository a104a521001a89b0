"""Metrics of the server for Prometheus: GET /metrics."""

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import generate_latest

REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)  # memory, processor time, open files; on Linux only

_SECONDS = (0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, float("inf"))

requests = Counter(
    "gradcam_http_requests", "HTTP requests.", ["route", "status"], registry=REGISTRY
)
refused = Counter(
    "gradcam_refused", "Requests that were refused, by reason.", ["reason"], registry=REGISTRY
)
failed = Counter(
    "gradcam_failed", "Requests answered with an error, by its code.", ["code"], registry=REGISTRY
)
answer_seconds = Histogram(
    "gradcam_answer_seconds",
    "Seconds from the start of a request's work to its end, by event or endpoint.",
    ["event"],
    buckets=_SECONDS,
    registry=REGISTRY,
)
wait_seconds = Histogram(
    "gradcam_wait_seconds", "Seconds in the queue.", buckets=_SECONDS, registry=REGISTRY
)
_values = {
    "gradcam_queue_waiting": "Requests that wait.",
    "gradcam_queue_running": "Requests that run.",
    "gradcam_queue_restarts": "How often a loop of the queue has failed and was started again.",
    "gradcam_sessions": "Open pages and calls of API clients.",
    "gradcam_uploads_bytes": "Uploads and results on the disk.",
    "gradcam_uploads_limit_bytes": "Their quota.",
    "gradcam_disk_free_bytes": "Free on the disk of the uploads.",
}
_gauges = {name: Gauge(name, text, registry=REGISTRY) for name, text in _values.items()}
_lookups = Gauge(
    "gradcam_cache_lookups",
    "Lookups in the caches since the start.",
    ["cache", "result"],
    registry=REGISTRY,
)


def exposition(values: Mapping[str, float], lookups: Mapping[tuple[str, bool], int]) -> bytes:
    """Return all metrics in Prometheus' text format.

    Args:
        values: The gauges as they are now, without `gradcam_`.
        lookups: How often something was looked for in a cache, and whether it was found.
    """
    for name, value in values.items():
        _gauges[f"gradcam_{name}"].set(value)
    for (cache, hit), count in lookups.items():
        _lookups.labels(cache, "hit" if hit else "miss").set(count)
    return generate_latest(REGISTRY)
