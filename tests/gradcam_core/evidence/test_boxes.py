"""Files of boxes as the data sets have them."""

import json
from pathlib import Path

import pytest

from gradcam_core.evidence.boxes import Thing, read_boxes

VOC = """<annotation>
  <filename>2007_000027.jpg</filename>
  <size><width>486</width><height>500</height><depth>3</depth></size>
  <object><name>person</name><pose>Unspecified</pose>
    <bndbox><xmin>174</xmin><ymin>101</ymin><xmax>349</xmax><ymax>351</ymax></bndbox>
    <part><name>head</name>
      <bndbox><xmin>169</xmin><ymin>104</ymin><xmax>209</xmax><ymax>146</ymax></bndbox></part>
  </object>
  <object><name>dog</name>
    <bndbox><xmin>1</xmin><ymin>1</ymin><xmax>486</xmax><ymax>500</ymax></bndbox></object>
</annotation>"""

COCO = {
    "images": [{"id": 9, "file_name": "val/000000000009.jpg", "width": 640, "height": 480}],
    "categories": [{"id": 17, "name": "cat"}],
    "annotations": [
        {"image_id": 9, "category_id": 17, "bbox": [10.4, 20.0, 30.0, 40.2], "iscrowd": 0},
        {"image_id": 9, "category_id": 17, "bbox": [0, 0, 640, 480], "iscrowd": 1},
    ],
}


def test_pascal_voc_counts_from_one_and_parts_are_no_things(tmp_path: Path) -> None:
    (tmp_path / "deeper").mkdir()
    (tmp_path / "deeper" / "2007_000027.xml").write_text(VOC)
    person, dog = read_boxes(tmp_path)["2007_000027"]
    assert person == Thing("person", (173, 100, 349, 351), (486, 500))
    assert dog.box == (0, 0, 486, 500)
    assert person.box_in(243, 250) == (86, 50, 174, 176)


def test_coco_without_crowds(tmp_path: Path) -> None:
    file = tmp_path / "instances.json"
    file.write_text(json.dumps(COCO))
    assert read_boxes(file) == {"000000000009": [Thing("cat", (10, 20, 40, 60), (640, 480))]}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", "[]", "no file of boxes as COCO writes them"),
        ("a.json", "{", "no file of boxes as COCO writes them"),
        ("a.xml", "<annotation", "no file of boxes as PASCAL VOC writes them"),
        ("a.xml", VOC.replace("174", "left"), "no file of boxes as PASCAL VOC writes them"),
        ("a.xml", "<annotation><size><width>1</width><height>1</height></size></annotation>", "no"),
    ],
)
def test_other_files_are_said(name: str, content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=message):
        read_boxes(tmp_path / name)


def test_no_file() -> None:
    with pytest.raises(FileNotFoundError, match="no file or folder"):
        read_boxes(Path("nowhere"))
