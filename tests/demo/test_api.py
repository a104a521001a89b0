"""The demo over HTTP: the endpoint, and what it must refuse."""

import json
import os
import socket
import urllib.error
import urllib.request
import uuid
from dataclasses import fields
from pathlib import Path

import httpx
import numpy as np
import pytest
import torch
import torchvision
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

import gradcam_core
from gradcam_core import metrics
from tests.support.session import default_data

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def client(address: str, tmp_path_factory: pytest.TempPathFactory) -> Client:
    results = str(tmp_path_factory.mktemp("results"))
    # It makes several connections a question, and would read all certificates for each.
    return Client(address, verbose=False, download_files=results, ssl_verify=False)


def test_named_endpoints_are_the_only_public_ones(client: Client) -> None:
    api = client.view_api(return_format="dict", print_info=False)
    assert set(api["named_endpoints"]) == {"/classify", "/caption", "/vqa", "/evaluate"}
    assert api["unnamed_endpoints"] == {}


def test_every_parameter_and_value_is_named_typed_and_described(client: Client) -> None:
    api = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    for endpoint in api.values():
        assert endpoint["description"].startswith(("Explain", "Answer", "Measure"))
        for parameter in endpoint["parameters"]:
            assert len(parameter["label"]) > 10, parameter
            assert parameter["python_type"]["type"] not in ("Any", "Literal[]", ""), parameter
            assert parameter["example_input"] not in (None, "", "Hello!!"), parameter
        for value in endpoint["returns"]:
            assert not value["label"].startswith("value_"), value
    names = [parameter["parameter_name"] for parameter in api["/classify"]["parameters"]]
    assert names[:2] == ["picture", "target"]
    assert names[2:7] == ["layer", "colour_map", "opacity", "model", "method"]
    # Every field of a query, but what the endpoint itself says.
    for endpoint, fixed in (("/vqa", {"task", "target", "guided"}), ("/evaluate", {"guided"})):
        names = [parameter["parameter_name"] for parameter in api[endpoint]["parameters"]]
        assert {field.name for field in fields(gradcam_core.Query)} - fixed <= {*names}
    assert [
        p["parameter_name"]
        for p in api["/classify"]["parameters"]
        if not p["parameter_has_default"]
    ] == ["picture"]


def test_a_plain_path_or_address_gets_a_sentence_that_names_handle_file(
    client: Client, cat_file: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for picture in (str(cat_file), "https://example.org/cat.jpg", {"url": "https://example.org/"}):
        with pytest.raises(AppError, match="handle_file"):
            client.predict(picture=picture, api_name="/classify")
    assert "Traceback" not in capfd.readouterr().err


def test_classify(client: Client, cat_file: Path) -> None:
    summary, (picture, blended), *panels, numbers, classes = client.predict(
        picture=handle_file(cat_file), target="tabby", api_name="/classify"
    )
    expected = gradcam_core.explain(cat_file, target="tabby")
    assert "tabby" in summary
    assert numbers["target"] == "tabby"
    assert numbers["score"] == pytest.approx(expected.score, abs=1e-4)
    assert np.array(numbers["raw"]) == pytest.approx(expected.raw, abs=1e-4)
    assert numbers.keys() == expected.to_dict().keys()
    names = [concept["name"] for concept in numbers["concepts"]]
    assert names == [concept.name for concept in expected.concepts] != []
    assert classes["label"] == "Egyptian cat"
    assert len(classes["confidences"]) == 5
    assert len(panels) == 4
    for path in (picture, blended, *panels):
        with Image.open(path) as image:
            assert (image.format, image.size) == ("PNG", (451, 300))


def test_everything_but_the_picture_may_be_left_out(client: Client, cat_file: Path) -> None:
    *_, numbers, _ = client.predict(picture=handle_file(cat_file), api_name="/classify")
    assert (numbers["target"], numbers["layer"]) == ("Egyptian cat", "conv_head")
    *_, numbers, _ = client.predict(picture=handle_file(cat_file), target=281, api_name="/classify")
    assert numbers["target"] == "tabby"
    *_, numbers, _ = client.predict(picture=handle_file(cat_file), detail=2, api_name="/classify")
    assert (numbers["detail"], len(numbers["raw"])) == (2, 14)


def test_caption(client: Client, cat_file: Path) -> None:
    typed = "a cat looks at the camera"
    summary, *_, numbers, words, own, strip = client.predict(
        picture=handle_file(cat_file), caption=typed, api_name="/caption"
    )
    expected = gradcam_core.explain(cat_file, "captioning", typed)
    assert typed in summary
    assert numbers["score"] == pytest.approx(expected.score, abs=1e-3)
    assert [word["text"] for word in numbers["words"]] == typed.split()
    assert [word["token"] for word in words] == typed.split()
    assert [item["caption"].split()[0] for item in strip] == ["all", *typed.split()]
    assert [row[0] for row in own["data"]] == [p["text"] for p in numbers["predictions"]]
    *_, numbers, words, own, strip = client.predict(
        picture=handle_file(cat_file), api_name="/caption"
    )
    assert numbers["target"] == own["data"][0][0]


def test_vqa(client: Client, cat_file: Path) -> None:
    question = "What animal is this?"
    summary, *_, numbers, answers = client.predict(
        picture=handle_file(cat_file), question=question, api_name="/vqa"
    )
    expected = gradcam_core.explain(cat_file, "vqa", question=question)
    assert (numbers["question"], numbers["target"]) == (question, "cat")
    assert numbers["score"] == pytest.approx(expected.score, abs=1e-3)
    assert answers["label"] == "cat"
    *_, numbers, _ = client.predict(
        picture=handle_file(cat_file), question=question, answer="dog", api_name="/vqa"
    )
    assert numbers["target"] == "dog"
    summary, *_ = client.predict(
        picture=handle_file(cat_file), question="What qwxz is <b>this</b>?", api_name="/vqa"
    )
    assert "qwxz" in summary.splitlines()[-1]


@pytest.mark.slow
def test_evaluate(client: Client, cat_file: Path, small: str) -> None:
    query = {"target": "tabby", "model": small, "method": "layercam"}
    sentence, figures = client.predict(
        picture=handle_file(cat_file), **query, sanity=True, api_name="/evaluate"
    )
    explanation = gradcam_core.explain(cat_file, **query)
    expected = metrics.measure(explanation)
    assert sentence == metrics.verdict(expected)
    assert (figures["target"], figures["method"]) == ("tabby", "layercam")
    assert {name: found["value"] for name, found in figures["measurements"].items()} == {
        name: pytest.approx(found.value, abs=1e-3) for name, found in expected.items()
    }
    assert figures["supports"] == metrics.supports(expected)
    assert figures["sanity"] == [
        {"layer": step.layer, "correlation": pytest.approx(step.correlation, abs=1e-3)}
        for step in metrics.sanity_check(explanation)
    ]
    box = metrics.bounding_box(metrics.segment(explanation.heatmap))
    assert figures["box"] == list(box or ())
    for wrong, message in (
        ({"question": "What?"}, "question"),
        ({"task": "captioning", "sanity": True}, "classifiers"),
        ({"method": "attention-rollout"}, "lite0"),
    ):
        with pytest.raises(AppError, match=message):
            client.predict(picture=handle_file(cat_file), **wrong, api_name="/evaluate")


def test_errors_of_captions_and_questions_are_sentences(client: Client, cat_file: Path) -> None:
    picture = handle_file(cat_file)
    cases = [
        ("/caption", {"caption": "a cat qwxz jklm"}, "qwxz.*jklm"),
        ("/caption", {"caption": "cat " * 100}, "at most"),
        ("/caption", {"caption": "猫"}, "does not know"),
        ("/caption", {"caption": "?!"}, "type a caption"),
        ("/vqa", {"question": " "}, "Ask a question"),
        ("/vqa", {"question": "what " * 1000}, "at most"),
        ("/vqa", {"question": "What is this?", "answer": "qwxz"}, "no answer"),
    ]
    for endpoint, arguments, said in cases:
        with pytest.raises(AppError, match=said):
            client.predict(picture=picture, **arguments, api_name=endpoint)


def test_errors_are_sentences_and_the_next_request_works(
    client: Client, cat_file: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"\xff\xd8\xff\xe0 no photo")
    cases = [
        ({"picture": None}, "handle_file"),
        ({"picture": handle_file(broken)}, "broken.jpg is"),
        ({"picture": handle_file(cat_file), "target": "boxr"}, "boxer"),
        ({"picture": handle_file(cat_file), "target": "<img src=x>"}, "<img src=x>"),
        ({"picture": handle_file(cat_file), "target": "1000"}, "0 to 999"),
    ]
    for arguments, said in cases:
        with pytest.raises(AppError, match=said):
            client.predict(**arguments, api_name="/classify")
    assert client.predict(picture=handle_file(cat_file), api_name="/classify")


def test_another_model(client: Client, cat_file: Path) -> None:
    numbers = client.predict(
        picture=handle_file(cat_file), target="tabby", model="lite2", api_name="/classify"
    )[6]
    assert (numbers["model"], numbers["target"]) == ("lite2", "tabby")
    assert len(numbers["raw"]) == 9


def test_a_model_with_other_layers(
    client: Client, cat_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    url = torchvision.models.SqueezeNet1_1_Weights.IMAGENET1K_V1.url
    cached = tmp_path / "hub" / "checkpoints" / Path(url).name
    cached.parent.mkdir(parents=True)
    torch.save(torchvision.models.squeezenet1_1().state_dict(), cached)
    request = {"picture": handle_file(cat_file), "model": "squeezenet1_1"}
    numbers = client.predict(**request, api_name="/classify")[6]
    assert (numbers["model"], numbers["layer"]) == ("squeezenet1_1", "features.12")
    numbers = client.predict(**request, layer="features.9", api_name="/classify")[6]
    assert numbers["layer"] == "features.9"
    with pytest.raises(AppError, match="no layer 'conv_head'"):
        client.predict(**request, layer="conv_head", api_name="/classify")


def test_unavailable_models(
    client: Client, cat_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    cases = [
        ("vgg16", "/classify", "VGG-16 is not on this machine"),
        ("vgg99", "/classify", "no model 'vgg99' for classification"),
        # The demo runs in a folder that has such folders; nobody may look into them.
        ("gradcam_core/models", "/classify", "Folders are opened from Python"),
        (str(tmp_path), "/classify", "no model"),
        ("../demo", "/classify", "no model"),
        ("a" * 300 + "/b", "/classify", "no model"),
    ]
    monkeypatch.chdir(Path(__file__).parents[2])
    for model, endpoint, said in cases:
        with pytest.raises(AppError, match=said):
            client.predict(picture=handle_file(cat_file), model=model, api_name=endpoint)
    # What explains classes writes no captions.
    with pytest.raises(AppError, match="no model 'lite0' for captioning"):
        client.predict(picture=handle_file(cat_file), model="lite0", api_name="/caption")
    assert client.predict(picture=handle_file(cat_file), api_name="/caption")


def call(address: str, picture: object) -> str:
    """Call /classify as no client library would, and return the events' text."""
    body = json.dumps(
        {"data": default_data(address, "classify", picture=picture, target="tabby")}
    ).encode()
    url = f"{address}gradio_api/call/classify"
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            event = json.load(answer)["event_id"]
        with urllib.request.urlopen(f"{url}/{event}", timeout=60) as answer:
            return answer.read().decode()
    except urllib.error.HTTPError as error:
        return f"event: error {error.code}"


def test_no_file_but_an_upload_is_opened(address: str, cat_file: Path) -> None:
    """A readable picture on the server, an address, a data URL: none is taken."""
    upload = httpx.post(f"{address}gradio_api/upload", files={"files": cat_file.read_bytes()})
    meta = {"meta": {"_type": "gradio.FileData"}}
    assert "event: complete" in call(address, {"path": upload.json()[0]} | meta)
    uploads = Path(os.environ["GRADIO_TEMP_DIR"])
    link = uploads / f"{uuid.uuid4()}.png"
    link.symlink_to(cat_file)
    climbing = uploads / ".." / os.path.relpath(cat_file, uploads.parent)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.5)
        elsewhere = f"http://127.0.0.1:{listener.getsockname()[1]}/cat.png"
        pixel = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///ywAAAAAAQABAAACAUwAOw=="
        for picture in (
            *(
                {"path": str(path)} | more
                for path in (cat_file, link, climbing)
                for more in ({}, meta)
            ),
            {"path": elsewhere} | meta,
            {"path": str(cat_file), "url": elsewhere} | meta,
            {"path": None, "url": pixel} | meta,
            {"path": pixel, "url": pixel} | meta,
            str(cat_file),
        ):
            events = call(address, picture)
            assert "event: error" in events, picture
            assert "event: complete" not in events
        with pytest.raises(TimeoutError):  # and nobody came asking
            listener.accept()
