"""Test a checkpoint on a folder of videos: with one view per video, then with ten clips × three crops.

python examples/test_with_views.py runs/mine/best.safetensors my_videos
"""

import sys
from dataclasses import replace

import tanet
from tanet.data.annotations import read_test_samples
from tanet.evaluation.evaluate import evaluate

checkpoint, videos = sys.argv[1:]
model = tanet.load(checkpoint)
samples = read_test_samples(replace(model.recipe.data, root=videos), classes=model.classes)
for clips, crops in ((1, 1), (10, 3)):
    recipe = replace(model.recipe, eval=replace(model.recipe.eval, clips=clips, crops=crops))
    report = evaluate(model.network, samples, classes=model.classes, recipe=recipe)
    print(f"{clips} × {crops} views: top-1 {report.accuracy.top1:.1%} of {len(samples)} videos")
