"""What every command does alike: JSON, quiet, standard input, mistakes, Ctrl-C, a full disk."""

import csv
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import transformers
from click.testing import Result
from PIL import Image
from typer.testing import CliRunner

import gradcam_core
from gradcam_core.cli import app
from gradcam_core.cli.catalog import print_table
from gradcam_core.cli.table import Table
from tests.support.program import ROOT

PROGRAM = [sys.executable, "-m", "gradcam_core"]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT)}

# A command over photos, with what else it needs.
COMMANDS = {
    "explain": ["--out", "out"],
    "evaluate": [],
    "adversarial": ["--out", "out"],
    "bias": ["--target", "Egyptian cat", "--out", "out.html"],
    "localise": ["boxes"],
    "batch": ["--out", "out"],
}


@pytest.fixture
def photos(cat_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A photo and a broken one, with boxes beside; the working directory is their parent."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "photos"
    folder.mkdir()
    with Image.open(cat_file) as cat:
        cat.resize((96, 64)).save(folder / "cat.jpg")
    (folder / "broken.jpg").write_bytes(b"no photo")
    (tmp_path / "boxes").mkdir()
    (tmp_path / "boxes" / "cat.xml").write_text(
        "<annotation><size><width>96</width><height>64</height></size><object><name>tabby</name>"
        "<bndbox><xmin>9</xmin><ymin>9</ymin><xmax>80</xmax><ymax>60</ymax></bndbox>"
        "</object></annotation>"
    )
    return folder


def run(*arguments: object, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(app, [str(each) for each in arguments], input=stdin)


def one_sentence(result: Result) -> bool:
    return isinstance(result.exception, SystemExit) and len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("command", sorted(COMMANDS.keys() - {"evaluate"}))
def test_bad_photos_are_skipped_and_reported(photos: Path, command: str) -> None:
    done = run(command, "photos", *COMMANDS[command])
    assert done.exit_code == 1
    assert one_sentence(done), done.output
    assert "broken.jpg: " in done.stderr
    assert done.stdout


@pytest.mark.parametrize("command", sorted(COMMANDS.keys() - {"evaluate"}))
def test_json_is_all_there_is_on_standard_output(photos: Path, command: str) -> None:
    done = run(command, "photos", *COMMANDS[command], "--json")
    records = [json.loads(line) for line in done.stdout.splitlines()]
    failed = [each for each in records if each.get("error")]
    assert [Path(each["source"]).name for each in failed] == ["broken.jpg"]
    assert len(records) > 1


@pytest.mark.parametrize("command", ["explain", "batch"])
def test_quiet_says_what_failed(photos: Path, command: str) -> None:
    done = run(command, "photos", *COMMANDS[command], "--quiet")
    assert done.stdout == ""
    assert one_sentence(done)


@pytest.mark.slow
def test_evaluate_takes_folders(photos: Path) -> None:
    shutil.copy(photos / "cat.jpg", photos / "other.jpg")
    # A small network: it makes hundreds of forward passes.
    config = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 8, 8, 8])
    transformers.ResNetForImageClassification(config).save_pretrained("network")
    transformers.ConvNextImageProcessor(size={"shortest_edge": 64}).save_pretrained("network")
    figure = ["--figure", "figure.svg", "--panels", "grad_cam"]
    done = run("evaluate", "photos", "--json", "--model", "./network", *figure)
    assert done.exit_code == 1
    failed, first, second, mean = map(json.loads, done.stdout.splitlines())
    assert "broken.jpg" in failed["source"]
    for name, metric in mean["means"].items():
        values = [each["metrics"][name]["value"] for each in (first, second)]
        assert metric["value"] == pytest.approx(sum(values) / 2)
    assert mean["photos"] == 2
    assert Path("figure.svg").read_text().startswith("<?xml")


def test_metrics_of_a_target_of_no_probability_are_refused(photos: Path) -> None:
    model = gradcam_core.load("lite0")
    head = model.bind(model.encode(gradcam_core.open_image("photos/cat.jpg")), None)
    least = int(head.probabilities.argmin())
    unlikely = run("evaluate", "photos/cat.jpg", "--target", least)
    assert unlikely.exit_code == 1
    assert one_sentence(unlikely)
    assert unlikely.stdout == ""


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("wrong", "status"),
    [
        (["--model", "nonsense"], 1),
        (["--model", "lite0-caption"], 1),
        (["--layer", "nonsense"], 1),
        (["--method", "nonsense"], 2),
        (["--method", "attention-rollout"], 1),
        (["--model", "lite0", "--model", "lite0"], 2),
    ],
)
def test_a_wrong_query_is_refused_once(
    photos: Path, command: str, wrong: list[str], status: int
) -> None:
    done = run(command, "photos", *COMMANDS[command], *wrong)
    assert done.exit_code == status, done.output
    assert isinstance(done.exception, SystemExit)
    assert "broken.jpg" not in done.stderr
    assert done.stdout == ""
    assert not Path("out").exists()
    assert not Path("out.html").exists()


@pytest.mark.parametrize("command", ["explain", "evaluate", "batch", "bias", "adversarial"])
def test_a_wrong_target_is_refused_once(photos: Path, command: str) -> None:
    arguments = [each for each in COMMANDS[command] if each not in ("--target", "Egyptian cat")]
    done = run(command, "photos", *arguments, "--target", "blorb")
    assert done.exit_code == 1
    assert one_sentence(done), done.output
    assert "blorb" in done.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_addresses_are_no_files(photos: Path, command: str) -> None:
    done = run(command, "https://example.org/cat.jpg", *COMMANDS[command])
    assert done.exit_code == 2
    assert isinstance(done.exception, SystemExit)
    options = COMMANDS[command]
    if "--out" in options:
        done = run(command, "photos", *options[:-1], "https://example.org/out.html")
        assert done.exit_code == 2
    assert sorted(path.name for path in Path().iterdir()) == ["boxes", "photos"]


@pytest.mark.parametrize("command", ["explain", "adversarial", "bias", "batch"])
def test_a_file_where_results_belong_stays(photos: Path, command: str) -> None:
    name = COMMANDS[command][-1]
    Path(name).write_text("mine")
    done = run(command, "photos/cat.jpg", *COMMANDS[command])
    assert done.exit_code in (1, 2)
    assert isinstance(done.exception, SystemExit)
    assert name in done.stderr
    assert Path(name).read_text() == "mine"


def test_photos_are_not_overwritten(photos: Path) -> None:
    with Image.open(photos / "cat.jpg") as cat:
        cat.save(photos / "cat.png")
    (photos / "broken.jpg").unlink()
    before = (photos / "cat.png").read_bytes()
    assert run("adversarial", "photos/cat.png", "--out", "photos").exit_code == 0
    assert (photos / "cat-2.png").exists()
    for arguments in (
        ["explain", "photos/cat.png", "--out", "out", "--figure", "photos/cat.png"],
        ["bias", "photos/cat.png", "--target", "tabby", "--out", "photos/../photos/cat.png"],
    ):
        assert run(*arguments).exit_code == 2
    assert (photos / "cat.png").read_bytes() == before


@pytest.mark.parametrize("command", ["explain", "evaluate", "adversarial", "bias", "batch"])
@pytest.mark.parametrize("ending", [b"\n", b"\r\n", b"\0"])
def test_names_from_standard_input(photos: Path, command: str, ending: bytes) -> None:
    (photos / "a*[b].jpg").write_bytes((photos / "cat.jpg").read_bytes())
    names = [b"photos/broken.jpg", b"photos/a*[b].jpg", b"photos/a*[b].jpg"]
    # Without a model this would take long; a broken photo is enough to see the names.
    stdin = ending.join(names[:1] if command == "evaluate" else names) + ending
    done = run(command, "-", *COMMANDS[command], "--json", stdin=stdin)
    sources = [json.loads(line).get("source") for line in done.stdout.splitlines()]
    assert sum("broken.jpg" in str(source) for source in sources) == 1
    if command in ("explain", "adversarial"):
        assert sum("a*[b].jpg" in str(source) for source in sources) == 1
    none = run(command, "-", *COMMANDS[command], stdin=b"\n")
    assert none.exit_code == 1
    assert one_sentence(none)


@pytest.mark.parametrize("command", ["explain", "adversarial"])
def test_skip_existing(photos: Path, command: str) -> None:
    def again(*more: str) -> int:
        found = run(command, "photos", "--out", "out", "--skip-existing", "--json", *more)
        return sum("cat.jpg" in line for line in found.stdout.splitlines())

    assert again() == 1
    assert again() == 0
    assert again("--method", "layercam") == 1
    assert again("--method", "layercam") == 0
    assert again("--target", "tabby") == 1
    assert again("--target", "tabby") == 0


def test_doubt_is_said_in_words(photos: Path) -> None:
    done = run("explain", "photos/cat.jpg", "--target", "airliner", "--out", "out", "--json")
    record = json.loads(done.stdout)
    explanation = gradcam_core.explain("photos/cat.jpg", target="airliner")
    assert explanation.faint or explanation.no_evidence
    with Path("out/summary.csv").open(newline="", encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert row["doubt"] == record["doubt"] == explanation.doubt
    assert explanation.doubt in str(explanation)


def test_a_figure_of_several_photos(photos: Path) -> None:
    shutil.copy(photos / "cat.jpg", photos / "other.jpg")
    figure = ["--panels", "picture,grad_cam", "--size", "column"]
    done = run("explain", "photos", "--out", "out", "--figure", "figure.png", *figure)
    assert done.exit_code == 1
    with Image.open("figure.png") as drawn:
        width, height = drawn.size
    run("explain", "photos/cat.jpg", "--out", "out", "--figure", "figure.png", *figure)
    with Image.open("figure.png") as drawn:
        assert drawn.width == width
        assert drawn.height < height
    for wrong in (
        ["--figure", "figure.gif"],
        ["--figure", "nowhere/figure.png"],
        ["--figure", "photos"],
        ["--figure", "a.png", "--panels", "nonsense"],
        ["--figure", "a.png", "--size", "poster"],
    ):
        assert run("explain", "photos", "--out", "other", *wrong).exit_code == 2
    for number in range(13):
        shutil.copy(photos / "cat.jpg", photos / f"{number}.jpg")
    assert run("explain", "photos", "--out", "other", "--figure", "a.png").exit_code == 2
    assert not Path("other").exists()


@pytest.mark.parametrize(
    ("size", "box"),
    [
        ("0", "9"),
        ("-5", "9"),
        ("inf", "9"),
        ("nan", "9"),
        ("64", "inf"),
        ("64", "1e400"),
        ("64", "80"),
    ],
)
def test_boxes_without_a_size(photos: Path, size: str, box: str) -> None:
    file = Path("boxes/cat.xml")
    file.write_text(
        file.read_text()
        .replace("<height>64<", f"<height>{size}<")
        .replace("<xmin>9", f"<xmin>{box}")
    )
    done = run("localise", "photos", "boxes")
    assert done.exit_code == 1
    assert one_sentence(done), done.output
    content = {
        "images": [{"id": 1, "file_name": "cat.jpg", "width": 96, "height": float(size)}],
        "categories": [{"id": 1, "name": "tabby"}],
        "annotations": [{"image_id": 1, "category_id": 1, "bbox": [float(box), 9, 0, 50]}],
    }
    Path("boxes.json").write_text(json.dumps(content))
    done = run("localise", "photos", "boxes.json")
    assert done.exit_code == 1
    assert one_sentence(done), done.output


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("explain --method grad-cam+", {"grad-cam++"}),
        ("explain --model lite0-cap", {"lite0-caption"}),
        ("batch --task cap", {"captioning"}),
        ("adv", {"adversarial"}),
    ],
)
def test_completion(typed: str, found: set[str]) -> None:
    asked = {
        "_GRADCAM_COMPLETE": "complete_bash",
        "COMP_WORDS": f"gradcam {typed}",
        "COMP_CWORD": str(len(typed.split())),
    }
    script = "from gradcam_core.cli import app; app(prog_name='gradcam')"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=ENVIRONMENT | asked,
        capture_output=True,
        text=True,
        check=False,
    )
    assert set(done.stdout.split()) == found


def test_tables_line_up(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([["猫", "x"], ["e\u0301te\u0301", "y"], ["abcd", "z"]])
    assert capsys.readouterr().out.splitlines() == ["猫    x", "e\u0301te\u0301   y", "abcd  z"]
    for command, names in (("models", gradcam_core.models()), ("methods", gradcam_core.methods())):
        listed = run(command).stdout.splitlines()
        second = {len(line) - len(line[line.index("  ") :].lstrip()) for line in listed}
        assert len(second) == 1
        found = [each["name"] for each in json.loads(run(command, "--json").stdout)]
        assert found == [getattr(each, "name", each) for each in names]


def test_a_row_is_written_as_a_whole(tmp_path: Path) -> None:
    table = Table(tmp_path / "out" / "summary.csv", ["source", "error"])
    table.append({"source": "a.jpg"})
    before = table.path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 20, limits[1]))
    try:
        with pytest.raises(OSError, match="large"):
            table.append({"source": "a long name" * 10})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert table.path.read_bytes() == before
    table.path.write_bytes(before + b"torn by a power c")
    Table(table.path, ["source", "error"]).append({"source": "b.jpg"})
    assert table.path.read_bytes() == before + b"b.jpg,\r\n"


def test_a_full_disk_is_one_sentence(photos: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [*PROGRAM, "methods"],
            stdout=full,
            stderr=subprocess.PIPE,
            env=ENVIRONMENT,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("imported", ["torch/__init__", "cli/explain"])
def test_ctrl_c_at_the_start(photos: Path, imported: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-v", *PROGRAM[1:], "explain", "photos", "--out", "out"],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    # Python says what it has imported.
    while imported.encode() not in (line := process.stderr.readline()):
        assert line, process.wait()
    process.send_signal(signal.SIGINT)
    said = process.stderr.read()
    process.communicate()
    assert process.returncode == 130
    assert b"Interrupted." in said
    assert b"Traceback" not in said


def test_ctrl_c_leaves_whole_rows(photos: Path) -> None:
    for number in range(200):
        shutil.copy(photos / "cat.jpg", photos / f"{number}.jpg")
    process = subprocess.Popen(
        [*PROGRAM, "explain", "photos", "--out", "out"],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    summary = Path("out/summary.csv")
    while not summary.exists() or summary.read_bytes().count(b"\n") < 4:
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate()
    assert process.returncode == 130
    assert "Traceback" not in said
    with summary.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert 3 <= len(rows) < 200
    folders = {row["folder"] for row in rows if not row["error"]}
    assert folders == {path.name for path in Path("out").iterdir() if path.is_dir()}
    assert all((Path("out") / name / "explanation.json").exists() for name in folders)
