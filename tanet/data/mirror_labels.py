"""Labels of mirrored videos: left and right are exchanged in the names of the classes."""

import re

from tanet.errors import UserError


def mirror_labels(classes: tuple[str, ...]) -> list[int | None]:
    """Return, for each class, the label of its mirrored videos.

    The function exchanges left and right in the name of the class, and returns the label of the new name. A
    name without left or right keeps its label. If no class has the new name, the label is None: videos of
    the class must not be mirrored.

    Raises:
        UserError: all class names are numbers, so the function cannot recognise left and right.
    """
    if all(name.isdigit() for name in classes):
        raise UserError(
            "--data.flip mirror needs the names of the classes to find the labels of mirrored videos: give "
            "--data.class-names, or choose --data.flip none or plain"
        )
    numbers = {name: label for label, name in enumerate(classes)}
    return [numbers.get(_mirrored(name)) for name in classes]


def _mirrored(name: str) -> str:
    pairs = (("left", "right"), ("Left", "Right"), ("LEFT", "RIGHT"))
    other = {a: b for pair in pairs for a, b in (pair, pair[::-1])}
    # Match left and right as words, also inside turnLeft and turn_left, but not inside bright or leftover.
    pattern = r"(?<![A-Za-z])(left|right)(?![a-z])|(Left|Right)(?![a-z])|(?<![A-Z])(LEFT|RIGHT)(?![A-Z])"
    return re.sub(pattern, lambda word: other[word[0]], name)
