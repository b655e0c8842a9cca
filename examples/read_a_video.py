"""Read frames of a video by their numbers, without decoding the rest.

python examples/read_a_video.py jump.mp4
"""

import sys

from tanet.video import VideoError, open_video

try:
    with open_video(sys.argv[1]) as video:  # a file, or a folder of frame pictures
        print(video.info)
        count = video.info.frames
        frames = video.read([0, count // 2, count - 1])  # uint8 [3, H, W, 3], RGB
        print(f"{tuple(frames.shape)}, mean {frames.float().mean():.1f}")
except VideoError as error:  # the message names the file and the cause
    sys.exit(str(error))
