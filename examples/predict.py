"""Label videos with a trained network.

python examples/predict.py runs/mine/best.safetensors jump.mp4 another.mp4
"""

import sys

import tanet

checkpoint, *videos = sys.argv[1:]
model = tanet.load(checkpoint)
for answer in tanet.predict_all(videos, model):
    if isinstance(answer, tanet.Prediction):
        print(f"{answer.video}: {answer.label} ({answer.score:.0%})")
    else:  # a VideoError; its message names the file and the cause
        print(answer)
