"""Readers of boxes, with files as the data sets have them."""

import json
from pathlib import Path

import pytest

from gradcam_core.metrics.boxes import LabelledBox, read_boxes

# Elements, attributes and keys, their order and nesting are those of the data sets.
VOC = """<annotation verified="yes">
	<folder>VOC2012</folder>
	<filename>2007_000027.jpg</filename>
	<source>
		<database>The VOC2007 Database</database>
		<annotation>PASCAL VOC2007</annotation>
		<image>flickr</image>
	</source>
	<size>
		<width>486</width>
		<height>500</height>
		<depth>3</depth>
	</size>
	<segmented>0</segmented>
	<object>
		<name>person</name>
		<pose>Unspecified</pose>
		<truncated>0</truncated>
		<difficult>0</difficult>
		<bndbox>
			<xmin>174</xmin>
			<ymin>101</ymin>
			<xmax>349</xmax>
			<ymax>351</ymax>
		</bndbox>
		<part>
			<name>head</name>
			<bndbox>
				<xmin>169</xmin>
				<ymin>104</ymin>
				<xmax>209</xmax>
				<ymax>146</ymax>
			</bndbox>
		</part>
	</object>
	<object>
		<name>dog</name>
		<bndbox>
			<xmax>486</xmax>
			<xmin>1</xmin>
			<ymax>499.6000061035156</ymax>
			<ymin>1</ymin>
		</bndbox>
		<difficult>1</difficult>
		<occluded>1</occluded>
		<pose>Left</pose>
		<truncated>1</truncated>
	</object>
</annotation>
"""

# Many of ImageNet's files have a pattern instead of folder and file name.
IMAGENET = """<annotation>
	<folder>%s</folder>
	<filename>%s</filename>
	<source>
		<database>ILSVRC_2012</database>
	</source>
	<size>
		<width>500</width>
		<height>375</height>
		<depth>3</depth>
	</size>
	<segmented>0</segmented>
	<object>
		<name>n01751748</name>
		<pose>Unspecified</pose>
		<truncated>0</truncated>
		<difficult>0</difficult>
		<bndbox>
			<xmin>111</xmin>
			<ymin>108</ymin>
			<xmax>441</xmax>
			<ymax>193</ymax>
		</bndbox>
	</object>
</annotation>
"""

COCO = {
    "info": {"description": "COCO 2017 Dataset", "version": "1.0", "year": 2017},
    "licenses": [{"url": "http://creativecommons.org/licenses/by/2.0/", "id": 4, "name": "BY"}],
    "images": [
        {
            "license": 4,
            "file_name": "000000000009.jpg",
            "coco_url": "http://images.cocodataset.org/train2017/000000000009.jpg",
            "height": 480,
            "width": 640,
            "date_captured": "2013-11-19 20:40:11",
            "flickr_url": "http://farm5.staticflickr.com/4026/9.jpg",
            "id": 9,
        },
        {"file_name": "val2017/000000000025.jpg", "height": 426, "width": 640, "id": 25},
    ],
    "annotations": [
        {
            "segmentation": [[10.4, 20.0, 40.4, 20.0, 40.4, 60.2]],
            "area": 603.0,
            "iscrowd": 0,
            "image_id": 9,
            "bbox": [10.4, 20.0, 30.0, 40.2],
            "category_id": 17,
            "id": 1038967,
        },
        {
            "segmentation": {"counts": [272, 2, 4, 4], "size": [480, 640]},
            "area": 18419,
            "iscrowd": 1,
            "image_id": 9,
            "bbox": [0, 0, 640, 480],
            "category_id": 17,
            "id": 900100002299,
        },
        {"image_id": 25, "category_id": 25, "bbox": [385, 60, 215, 297], "id": 1039000},
    ],
    "categories": [
        {"supercategory": "animal", "id": 17, "name": "cat"},
        {"supercategory": "animal", "id": 25, "name": "giraffe"},
    ],
}


def test_pascal_voc_counts_from_one_and_parts_are_ignored(tmp_path: Path) -> None:
    (tmp_path / "deeper").mkdir()
    (tmp_path / "deeper" / "2007_000027.xml").write_text(VOC)
    person, dog = read_boxes(tmp_path)["2007_000027"]
    assert person == LabelledBox("person", (173, 100, 349, 351), (486, 500))
    assert dog == LabelledBox("dog", (0, 0, 486, 500), (486, 500))
    assert person.scaled_to(243, 250) == (86, 50, 174, 176)


def test_imagenet_annotations_are_named_by_their_file(tmp_path: Path) -> None:
    (tmp_path / "n01751748").mkdir()
    (tmp_path / "n01751748" / "n01751748_10026.xml").write_text(IMAGENET)
    thing = LabelledBox("n01751748", (110, 107, 441, 193), (500, 375))
    assert read_boxes(tmp_path) == {"n01751748_10026": [thing]}


def test_coco_without_crowds(tmp_path: Path) -> None:
    file = tmp_path / "instances.json"
    file.write_text(json.dumps(COCO))
    assert read_boxes(file) == {
        "000000000009": [LabelledBox("cat", (10, 20, 40, 60), (640, 480))],
        "000000000025": [LabelledBox("giraffe", (385, 60, 600, 357), (640, 426))],
    }


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", "[]", "COCO"),
        ("a.json", "{", "COCO"),
        ("a.xml", "<annotation", "PASCAL VOC"),
        ("a.xml", VOC.replace("174", "left"), "PASCAL VOC"),
        (
            "a.xml",
            "<annotation><size><width>1</width><height>1</height></size></annotation>",
            "no boxes",
        ),
    ],
)
def test_other_files_are_refused(name: str, content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=message):
        read_boxes(tmp_path / name)


def test_no_file() -> None:
    with pytest.raises(FileNotFoundError, match="no file or folder"):
        read_boxes(Path("nowhere"))
