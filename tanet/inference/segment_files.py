"""Segments of videos in the formats of data sets, players and annotation tools.

json    ActivityNet's results, which evaluation tools of action detection read
csv     video,start,end,label,score
vtt     WebVTT subtitles
srt     SubRip subtitles
eaf     ELAN, one tier
"""

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Literal
from xml.etree import ElementTree as xml

from tanet.inference.timeline import Segment, Timeline
from tanet.inference.video_names import name_of
from tanet.runtime.files import text_bytes
from tanet.video.excerpt import split_part

Format = Literal["json", "csv", "vtt", "srt", "eaf"]
ONE_VIDEO: tuple[Format, ...] = ("vtt", "srt", "eaf")
"""Formats whose files are for one video."""
COLUMNS = ("video", "start", "end", "label", "score")


def write_segments(kind: Format, found: Sequence[Timeline]) -> bytes:
    """Return the content of a file with the segments of videos.

    Args:
        kind: format. Formats in `ONE_VIDEO` take one video.
        found: the videos.
    """
    return text_bytes(WRITERS[kind](found))


def activitynet(found: Sequence[Timeline]) -> str:
    """Return ActivityNet's JSON: name of the video → list of label, score and segment."""
    results = {
        name_of(one.video): [
            {"label": s.label, "score": round(s.score, 6), "segment": [round(s.start, 3), round(s.end, 3)]}
            for s in one.segments
        ]
        for one in found
    }
    return json.dumps(
        {"version": "tanet", "results": results, "external_data": {}}, ensure_ascii=False, indent=1
    )


def _csv(found: Sequence[Timeline]) -> str:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    for one in found:
        for s in one.segments:
            table.writerow([one.video, f"{s.start:.3f}", f"{s.end:.3f}", s.label, f"{s.score:.4f}"])
    return text.getvalue()


def _vtt(found: Sequence[Timeline]) -> str:
    cues = [f"{clock(s.start)} --> {clock(s.end)}\n{_cue(s)}\n" for s in found[0].segments]
    return "WEBVTT\n\n" + "\n".join(cues)


def _srt(found: Sequence[Timeline]) -> str:
    cues = [
        f"{number}\n{clock(s.start, comma=True)} --> {clock(s.end, comma=True)}\n{_cue(s)}\n"
        for number, s in enumerate(found[0].segments, 1)
    ]
    return "\n".join(cues)


def _cue(segment: Segment) -> str:
    # In subtitles, angle brackets and arrows have a meaning, and an empty line ends a cue.
    label = " ".join(segment.label.split()).replace("-->", "→").replace("<", "‹").replace(">", "›")
    return f"{label} ({segment.score:.0%})"


def clock(seconds: float, *, comma: bool = False) -> str:
    """Return a time as hours, minutes, seconds and milliseconds: 00:01:02.500."""
    milliseconds = round(seconds * 1000)
    hours, rest = divmod(milliseconds, 3_600_000)
    minutes, rest = divmod(rest, 60_000)
    return f"{hours:02d}:{minutes:02d}:{rest // 1000:02d}{',' if comma else '.'}{rest % 1000:03d}"


def _eaf(found: Sequence[Timeline]) -> str:
    """Return an ELAN document: a tier of alignable annotations, whose labels are a controlled vocabulary."""
    one = found[0]
    schema = "http://www.mpi.nl/tools/elan/EAFv3.0.xsd"
    root = xml.Element(
        "ANNOTATION_DOCUMENT",
        {
            "AUTHOR": "tanet",
            "DATE": "2000-01-01T00:00:00+00:00",
            "FORMAT": "3.0",
            "VERSION": "3.0",
            "xmlns:xsi": "http://www.w3.org/2001/XMLSchema-instance",
            "xsi:noNamespaceSchemaLocation": schema,
        },
    )
    header = xml.SubElement(root, "HEADER", MEDIA_FILE="", TIME_UNITS="milliseconds")
    place, _ = split_part(one.video)
    media = place.absolute().as_uri() if place.is_file() else one.video
    xml.SubElement(header, "MEDIA_DESCRIPTOR", MEDIA_URL=media, MIME_TYPE="video/*")
    order = xml.SubElement(root, "TIME_ORDER")
    tier = xml.Element("TIER", LINGUISTIC_TYPE_REF="action", TIER_ID="tanet")
    for number, segment in enumerate(one.segments):
        slots = f"ts{2 * number + 1}", f"ts{2 * number + 2}"
        for slot, seconds in zip(slots, (segment.start, segment.end), strict=True):
            xml.SubElement(order, "TIME_SLOT", TIME_SLOT_ID=slot, TIME_VALUE=str(round(1000 * seconds)))
        annotation = xml.SubElement(xml.SubElement(tier, "ANNOTATION"), "ALIGNABLE_ANNOTATION")
        annotation.set("ANNOTATION_ID", f"a{number + 1}")
        annotation.set("TIME_SLOT_REF1", slots[0])
        annotation.set("TIME_SLOT_REF2", slots[1])
        xml.SubElement(annotation, "ANNOTATION_VALUE").text = segment.label
    root.append(tier)
    xml.SubElement(
        root,
        "LINGUISTIC_TYPE",
        CONTROLLED_VOCABULARY_REF="actions",
        GRAPHIC_REFERENCES="false",
        LINGUISTIC_TYPE_ID="action",
        TIME_ALIGNABLE="true",
    )
    xml.SubElement(
        root,
        "LANGUAGE",
        LANG_ID="und",
        LANG_DEF="http://cdb.iso.org/lg/CDB-00130975-001",
        LANG_LABEL="undetermined (und)",
    )
    vocabulary = xml.SubElement(root, "CONTROLLED_VOCABULARY", CV_ID="actions")
    xml.SubElement(vocabulary, "DESCRIPTION", LANG_REF="und")
    for number, name in enumerate(one.classes):
        entry = xml.SubElement(vocabulary, "CV_ENTRY_ML", CVE_ID=f"cve{number}")
        xml.SubElement(entry, "CVE_VALUE", DESCRIPTION="", LANG_REF="und").text = name
    xml.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + xml.tostring(root, encoding="unicode") + "\n"


WRITERS: Mapping[Format, Callable[[Sequence[Timeline]], str]] = {
    "json": activitynet,
    "csv": _csv,
    "vtt": _vtt,
    "srt": _srt,
    "eaf": _eaf,
}
"""Format → function that writes it."""
