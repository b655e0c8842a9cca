"""Upload of a checkpoint to the Hugging Face Hub, with a model card and a config for people.

    tanet.push("runs/mine/best.safetensors", "user/name", licence="apache-2.0")

The weights are uploaded as they are. Paths of the author's files are removed from the header first.
"""

import dataclasses
import shutil
import tempfile
from pathlib import Path
from typing import Any

import safetensors.torch

from tanet.checkpoints import checkpoint as checkpoints
from tanet.checkpoints.checkpoint import Checkpoint, Header
from tanet.checkpoints.hub import LOGIN, WEIGHTS, HubSource, client, client_errors, find_source, is_hub
from tanet.checkpoints.model_card import About, check_licence, config, model_card
from tanet.checkpoints.pretrained.entries import DATA_NAMES, read_index
from tanet.checkpoints.sources import file_of
from tanet.errors import UserError
from tanet.recipes.fields import rule_of
from tanet.runtime.events import Note, OnEvent, ignore
from tanet.runtime.files import json_bytes, write_atomically

CARD = "README.md"
TIMEOUT = 10.0  # seconds until the hub's first answer
OWN_INFO = ("converted_from", "hub", "licence", "origin", "origin_sha256", "pretrained", "versions")
"""Texts of a checkpoint's information that tanet has written, and which name no local file."""


def push(
    checkpoint: str | Path,
    repo: str,
    *,
    licence: str,
    private: bool = True,
    dataset: str = "",
    message: str = "",
    new_card: bool = False,
    dry_run: str | Path | None = None,
    on_event: OnEvent = ignore,
) -> str:
    """Upload a checkpoint to a repository on the hub, and return its name, as hf://user/name@commit.

    The repository is made if it does not exist. Its files are model.safetensors, config.json and README.md,
    the model card. The copy that is uploaded has no paths of local files: fields of the recipe that say where
    files are, and texts that other projects stored beside the weights, are removed with a note.

    Args:
        checkpoint: checkpoint of tanet: its file, the folder of a training, or another source that
            `tanet.load` takes.
        repo: repository, as user/name.
        licence: licence of the weights: a name of the hub, such as apache-2.0, or another SPDX identifier.
        private: whether only you see a new repository. The checkpoint is never uploaded to a repository that
            others see if `private` is set.
        dataset: data set that the network was trained on, for the card: a name, or its id on the hub.
        message: message of the commit.
        new_card: whether to replace a model card that the repository has.
        dry_run: folder to write the files to. Nothing is uploaded.
        on_event: function that is called with each `Note`.

    Raises:
        UserError: the file is not a checkpoint of tanet, no licence was chosen, the extra `hub` is missing,
            or the hub refuses the upload.
    """
    wanted = _repository(repo)
    about = About(wanted.repo, check_licence(licence), dataset)
    path = file_of(checkpoint)
    if dry_run is not None:
        _write_files(path, Path(dry_run), about, on_event=on_event)
        return str(wanted)
    hub = client(wanted)
    if hub.constants.HF_HUB_OFFLINE:
        raise UserError(f"{wanted}: HF_HUB_OFFLINE forbids to ask the hub; unset it to push")
    with tempfile.TemporaryDirectory() as folder:
        _write_files(path, Path(folder), about, on_event=on_event)
        return _upload(hub, Path(folder), wanted, private, message, new_card, on_event)


def _repository(repo: str) -> HubSource:
    """Read the name of a repository: user/name or hf://user/name."""
    try:
        wanted = find_source(repo if is_hub(repo) else f"hf://{repo}")
    except UserError as error:
        raise UserError(f"'{repo}' is not a repository: give user/name") from error
    if wanted.revision != "main":
        raise UserError(f"{wanted}: a checkpoint is pushed to the branch main: give user/name")
    return wanted


def _write_files(path: Path, folder: Path, about: About, *, on_event: OnEvent) -> None:
    """Write the files of the repository to a folder."""
    loaded = checkpoints.load(path)  # checks that the weights fit the recipe
    shared, removed = without_places(loaded)
    entry = read_index().get(loaded.info.get("pretrained", ""))
    data = about.dataset or (DATA_NAMES[entry.data] if entry else "")
    about = dataclasses.replace(about, dataset=data, initial=_initial_weights(loaded))
    if about.initial:
        on_event(Note(f"the weights were made from {about.initial}; your licence must agree with theirs"))
    target = folder / WEIGHTS
    if target.exists() and target.samefile(path):
        raise UserError(f"{folder}: the checkpoint would be overwritten; choose another folder")
    folder.mkdir(parents=True, exist_ok=True)
    if removed:
        on_event(Note(f"removed from the copy that is shared: {', '.join(removed)}"))
        header = Header(shared.recipe, shared.network.input_spec, shared.classes, shared.info)
        state = safetensors.torch.load_file(path)
        write_atomically(target, safetensors.torch.save(state, checkpoints.header_metadata(header)))
    else:
        shutil.copyfile(path, target)
    write_atomically(folder / "config.json", json_bytes(config(shared), indent=2))
    write_atomically(folder / CARD, model_card(shared, about).encode("utf-8", "backslashreplace"))


def without_places(checkpoint: Checkpoint) -> tuple[Checkpoint, list[str]]:
    """Return a checkpoint without paths of local files, and the names of the fields that were removed.

    Names that lead everyone to the same file stay: hf://user/name and names of published weights.
    """
    recipe, removed = checkpoint.recipe, []
    for section in ("data", "model"):
        values = getattr(recipe, section)
        places = [
            field.name
            for field in dataclasses.fields(values)
            if rule_of(field).role == "place"
            and field.default == ""
            and getattr(values, field.name)
            and not _is_public(getattr(values, field.name))
        ]
        recipe = dataclasses.replace(
            recipe, **{section: dataclasses.replace(values, **dict.fromkeys(places, ""))}
        )
        removed += [f"{section}.{name}" for name in places]
    info: dict[str, Any] = {}
    for name, value in checkpoint.info.items():
        if name in OWN_INFO or value is None or isinstance(value, (bool, int, float)):
            info[name] = value
        else:
            removed.append(f"info.{name}")
    return dataclasses.replace(checkpoint, recipe=recipe, info=info), removed


def _is_public(source: str) -> bool:
    """Return whether a source of weights is a public name and not a path."""
    return is_hub(source) or source in read_index()


def _initial_weights(checkpoint: Checkpoint) -> str:
    """Describe the weights that a checkpoint was made from; "" if its training had random weights."""
    recipe = checkpoint.recipe
    source = checkpoint.info.get("pretrained") or recipe.model.weights or recipe.model.init
    if entry := read_index().get(source):
        return f"{source} of {entry.source}, licence {entry.licence or 'not stated'}"
    if not source or is_hub(source):
        return source
    kind = "ImageNet weights" if recipe.model.weights else "a checkpoint"
    return f"{kind} from a file of the author, licence not recorded"


def _upload(
    hub: Any,
    folder: Path,
    wanted: HubSource,
    private: bool,
    message: str,
    new_card: bool,
    on_event: OnEvent,
) -> str:
    """Make the repository if necessary, and commit the files of the folder to it."""
    api, repo = hub.HfApi(library_name="tanet"), wanted.repo
    with client_errors(wanted):
        try:
            found = api.model_info(repo, timeout=TIMEOUT)
        except hub.errors.RepositoryNotFoundError:
            _create(hub, api, wanted, private=private)
            found = None
        files = {file.name for file in folder.iterdir()}
        if found:
            if private and not found.private:
                raise UserError(f"{wanted}: others see this repository; add --public to push to it")
            if not private and found.private:
                on_event(Note(f"{wanted} stays private; its settings on the hub change this"))
            if CARD in {file.rfilename for file in found.siblings or ()} and not new_card:
                files.remove(CARD)
                on_event(Note("the repository keeps its model card; --new-card replaces it"))
        done = api.create_commit(
            repo,
            [hub.CommitOperationAdd(name, folder / name) for name in sorted(files)],
            commit_message=message or "Checkpoint of tanet",
        )
    return str(HubSource(repo, done.oid))


def _create(hub: Any, api: Any, wanted: HubSource, *, private: bool) -> None:
    """Create a repository. The hub's answer to a missing token is put in other words than for a download."""
    try:
        api.create_repo(wanted.repo, private=private)
    except hub.errors.HfHubHTTPError as error:
        if error.response.status_code == 401:
            raise UserError(f"{wanted}: you are not logged in: {LOGIN}") from error
        raise
