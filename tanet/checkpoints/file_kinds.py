"""Recognise the kind of a file from its first bytes, for messages about files that are not weights."""

from pathlib import Path

# First bytes, at an offset → what the file is, and what to do.
KINDS: tuple[tuple[int, bytes, str], ...] = (
    (0, b"version https://git-lfs", "a Git LFS pointer, not the file itself; run `git lfs pull`"),
    (4, b"ftyp", "a video"),
    (0, b"\x1aE\xdf\xa3", "a video"),
    (8, b"AVI ", "a video"),
    (0, b"FLV", "a video"),
    (0, b"\x89PNG", "a picture"),
    (0, b"\xff\xd8\xff", "a picture"),
    (0, b"GIF8", "a picture"),
    (0, b"<", "a web page; the download probably failed, so download it again"),
    (0, b"%PDF", "a PDF"),
    (0, b"\x93NUMPY", "an array of numpy"),
    (0, b"\x89HDF", "an HDF5 file, of Keras or MATLAB; only PyTorch and safetensors files can be read"),
    (0, b"\x1f\x8b", "a compressed file; decompress it"),
    (0, b"{", "JSON"),
)


def kind_of_file(path: Path) -> str:
    """Return a description of the kind of a file, or "" if its first bytes do not show the kind."""
    with path.open("rb") as file:
        head = file.read(64)
    for offset, start, kind in KINDS:
        if head[offset:].startswith(start):
            return kind
    if head.startswith(b"\x08") and path.suffix not in (".safetensors", ".npz"):
        return "perhaps ONNX"  # also the first byte of a safetensors file whose header has a fitting length
    printable = head.isascii() and all(byte >= 32 or chr(byte).isspace() for byte in head)
    return "a text file" if printable and head.strip() else ""
