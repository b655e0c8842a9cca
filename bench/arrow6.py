"""The arrow of time on real video: TANet against the 2D network, several seeds → results/arrow6.csv.

    python -m bench.arrow6 --data arrow6 --weights mobilenet_v2_imagenet.pth
    python -m bench.arrow6 --recipe finetune --temporal tam …       → results/arrow6_finetune.csv

Each row is one training with the recipe `arrow6`, or with `finetune` unchanged except for its 2D network,
MobileNetV2. It is tested after the last epoch, with one view and with the recipe's views. Videos are decoded
once, and the forward and backward pass are captured as a CUDA graph (bench/decoded.py).
"""

import argparse
import dataclasses
from itertools import product
from pathlib import Path
from statistics import fmean, stdev

from bench.common import ROOT, head, write_csv
from bench.compare import counted, run, split_of, start
from bench.decoded import decoded
from tanet.recipes import RECIPES
from tanet.recipes.recipe import Recipe


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", required=True, help="folder with train/ and val/")
    parser.add_argument("--weights", required=True, help="file with ImageNet weights of MobileNetV2")
    parser.add_argument("--recipe", choices=["arrow6", "finetune"], default="arrow6")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--temporal", nargs="+", default=["tam", "none"])
    parser.add_argument("--epochs", type=int, help="number of epochs (default: the recipe's)")
    parser.add_argument("--lr", type=float, help="learning rate (default: the recipe's)")
    parser.add_argument("--no-graph", action="store_true", help="train without CUDA graphs")
    parser.add_argument("--workers", type=int, default=8, help="processes that load the clips")
    parser.add_argument("--out", type=Path, help="file to write (default: the one named above)")
    flags = parser.parse_args()
    file = {"arrow6": "arrow6.csv", "finetune": "arrow6_finetune.csv"}[flags.recipe]
    out = flags.out or ROOT / "results" / file

    recipes = [_recipe(flags, name, seed) for name, seed in product(flags.temporal, flags.seeds)]
    try:
        videos = counted(split_of(recipes[0]), as_files=True)
    except ValueError as error:
        raise SystemExit(str(error)) from error
    rows: list[dict[str, object]] = []
    with decoded(flags.data) as raw:
        print(f"{raw.videos} videos decoded", flush=True)
        for recipe in recipes:
            own = {"temporal": recipe.model.temporal, "seed": recipe.seed, "lr": recipe.optim.lr}
            own |= {"start": start(recipe.model), "videos": videos}
            found = run(recipe, graph=not flags.no_graph)
            rows.append({**head("torch", "av"), **own, **found})
            write_csv(out, rows)
            print(f"{own['temporal']}, seed {own['seed']}: top-1 {rows[-1]['val_top1']}", flush=True)
    for name in flags.temporal:
        top1 = [float(str(row["val_top1"])) for row in rows if row["temporal"] == name]
        deviation = f" ± {stdev(top1):.4f}" if len(top1) > 1 else ""
        print(f"{name:8} val top-1 {fmean(top1):.4f}{deviation} of {len(top1)} seeds")


def _recipe(flags: argparse.Namespace, temporal: str, seed: int) -> Recipe:
    recipe = RECIPES[flags.recipe]
    optim = dataclasses.replace(
        recipe.optim,
        epochs=flags.epochs or recipe.optim.epochs,
        lr=flags.lr or recipe.optim.lr,
    )
    return dataclasses.replace(
        recipe,
        data=dataclasses.replace(recipe.data, root=flags.data, workers=flags.workers, transform_on="device"),
        model=dataclasses.replace(
            recipe.model, backbone="mobilenet_v2", temporal=temporal, weights=flags.weights
        ),
        optim=optim,
        seed=seed,
    )


if __name__ == "__main__":
    main()
