"""Live video: a camera, a network stream or a file, labelled while it runs.

live_source.py     what a user names → what FFmpeg opens
stream_reader.py   thread that drains the source into the ring, and opens it again when it fails
frame_ring.py      the newest frames, resized, with their times
watch.py           newest window → network → answer
smoothing.py       averages of answers, thresholds, hysteresis
"""
