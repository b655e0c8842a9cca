"""Import hook that keeps the module names of tanet 0.1.0 working. The hook is kept for one release.

For example, `from tanet.recipe import Data` still works, and warns that the module is now called
tanet.recipes.recipe. Names inside the modules may also have changed: CHANGELOG.md lists these names.
"""

import importlib
import importlib.abc
import importlib.machinery
import sys
import warnings
from collections.abc import Sequence
from types import ModuleType

MOVED: dict[str, str] = {
    "agreement": "training.rank_sync",
    "annotation": "data.annotations",
    "backbones": "models.backbones2d",
    "backbones.inception_v3": "models.backbones2d.inception_v3",
    "backbones.mobilenet_v2": "models.backbones2d.mobilenet_v2",
    "backbones.resnet": "models.backbones2d.resnet",
    "backbones.shufflenet_v2": "models.backbones2d.shufflenet_v2",
    "board": "training.tensorboard",
    "captions": "visualization.captions",
    "catalog": "data.tools.public_datasets",
    "checkpoint": "checkpoints.checkpoint",
    "coding": "data.tools.encode",
    "convert": "checkpoints.convert",
    "convert.names": "checkpoints.convert.weight_names",
    "convert.reader": "checkpoints.convert.read",
    "convert.recognise": "checkpoints.convert.recognise",
    "convert.starting": "checkpoints.initialize",
    "convert.writer": "checkpoints.convert.write",
    "cost": "profiling.flops",
    "datasets": "data.dataset",
    "device": "runtime.device",
    "device_views": "data.gpu_transforms",
    "distributed": "runtime.distributed",
    "ensemble": "evaluation.ensemble",
    "evaluate": "evaluation.evaluate",
    "feed": "data.loader",
    "figures": "visualization.figures",
    "fold": "models.fusion.fold_batch_norm",
    "frames": "checkpoints.resize_frames",
    "fuse": "models.fusion.fuse_tam",
    "gradients": "training.gradient_sync",
    "indexing": "data.tools.index",
    "inspection": "data.tools.check",
    "lists": "data.list_files",
    "memory": "profiling.memory",
    "metrics": "evaluation.metrics",
    "network": "models.video_net",
    "nonfinite": "training.nonfinite",
    "optim": "training.optimizer",
    "packing": "data.tools.pack",
    "plan": "training.plan",
    "prefetch": "data.prefetch",
    "prepare": "training.setup",
    "protocols": "evaluation.protocols",
    "recipe": "recipes.recipe",
    "recipes.table": "recipes.paper.row",
    "recipes.table1a": "recipes.paper.table1a",
    "recipes.table1b": "recipes.paper.table1b",
    "recipes.table2": "recipes.paper.table2",
    "recipes.table3": "recipes.paper.table3",
    "recipes.table5a": "recipes.paper.table5a",
    "recipes.table5b": "recipes.paper.table5b",
    "report": "demo.page",
    "run": "training.run_folder",
    "sampling": "data.frame_sampling",
    "scores": "evaluation.score_files",
    "screen": "cli.console",
    "shards": "data.shards.format",
    "sites": "models.insertion.sites",
    "start": "checkpoints.initialize",
    "state": "training.training_state",
    "step": "training.step",
    "stop": "runtime.interrupt",
    "temporal": "models.temporal",
    "temporal.aggregation": "models.temporal.temporal_aggregation",
    "temporal.branches": "models.temporal.tam_ablations",
    "temporal.conv": "models.temporal.temporal_conv",
    "temporal.non_local": "models.temporal.non_local",
    "temporal.shift": "models.temporal.temporal_shift",
    "temporal.tam": "models.temporal.tam",
    "temporal.tei": "models.temporal.tei",
    "transforms": "data.transforms",
    "validation": "training.validation",
    "visualize": "visualization.record",
    "watch": "training.events",
    "workers": "runtime.process_pool",
}
"""Old → new module name, both without the prefix `tanet.`"""


class OldModules(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finder and loader that imports a module by the module's old name."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Return a module spec for the old name of a module, and None for any other name."""
        del path, target
        package, _, name = fullname.partition(".")
        if package != "tanet" or name not in MOVED:
            return None
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        """Import the module by its new name, and warn that the old name was used."""
        new = f"tanet.{MOVED[spec.name.partition('.')[2]]}"
        warnings.warn(f"{spec.name} is called {new} now", DeprecationWarning, stacklevel=2)
        # Return a copy, because the import system writes the old name into the module that it receives.
        module = ModuleType(spec.name)
        module.__dict__.update(vars(importlib.import_module(new)))
        # With an empty path, imports of submodules also reach this finder, and no module is loaded twice.
        module.__path__ = []
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Do nothing: the module has already been imported by its new name."""


def install() -> None:
    """Register the finder after all other finders, so that imports by old module names work."""
    sys.meta_path.append(OldModules())
