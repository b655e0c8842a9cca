"""Label many videos on a cluster with Ray Data: decode on CPUs, classify on GPUs, write CSV files.

    pip install 'ray[data]'
    python examples/label_with_ray.py videos.txt answers/ --model i3d-k400 --gpus 4

videos.txt lists one path per line; every machine must be able to read these paths. --gpus is the number of
GPUs, each with a worker; 0, the default, classifies with one worker on the CPU. The files in answers/ have
the columns path, label, score and error. On one machine, `tanet predict --csv` is simpler. On several
machines without Ray, split the list, and run one `tanet predict` in each task of a Slurm array.
"""

import argparse
from typing import Any

import numpy as np

import tanet


def decode(row: dict[str, Any], recipe: tanet.Recipe) -> dict[str, Any]:
    """Read the test clips of a video (uint8), or say why it cannot be read."""
    try:
        return {"path": row["path"], "views": tanet.views(row["path"], recipe).numpy(), "error": ""}
    except tanet.UserError as error:
        return {"path": row["path"], "views": np.empty(0, np.uint8), "error": str(error)}


class Label:
    """Add label and score to a batch of rows. Each worker loads the network once."""

    def __init__(self, model: str, device: str) -> None:
        self.model = tanet.load(model, device=device)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Classify the readable videos of a batch."""
        count = len(batch["path"])
        labels, scores = [""] * count, np.zeros(count, np.float32)
        good = [number for number in range(count) if not batch["error"][number]]
        if good:
            found = tanet.classify([batch["views"][number] for number in good], self.model)
            for number, (score, label) in zip(good, zip(*found.max(1), strict=True), strict=True):
                labels[number], scores[number] = self.model.classes[int(label)], float(score)
        return {"path": batch["path"], "label": np.array(labels), "score": scores, "error": batch["error"]}


def main() -> None:
    """Run the pipeline."""
    import ray  # type: ignore[import-not-found]

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("videos")
    parser.add_argument("out")
    parser.add_argument("--model", default="i3d-k400")
    parser.add_argument("--gpus", type=int, default=0)
    flags = parser.parse_args()
    recipe = tanet.load(flags.model).recipe
    rows = ray.data.read_text(flags.videos).rename_columns({"text": "path"})
    rows = rows.map(decode, fn_kwargs={"recipe": recipe})
    rows = rows.map_batches(
        Label,
        fn_constructor_kwargs={"model": flags.model, "device": "cuda" if flags.gpus else "cpu"},
        batch_size=16,
        compute=ray.data.ActorPoolStrategy(size=max(1, flags.gpus)),
        num_gpus=1 if flags.gpus else 0,
    )
    rows.write_csv(flags.out)


if __name__ == "__main__":
    main()
