"""Networks of a report: how they are written, and the RDMs of their modules."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InvalidArgument, WeightsError
from ..extraction import extract_features
from ..features import Features
from ..planning import plan
from ..provenance import digest_items
from ..rsa.rdm import RDM, compute_rdm
from ..store.naming import file_names
from ..store.records import META, read_meta
from ..zoo import Network, load_model
from .sets import ReferenceSet

log = logging.getLogger("thingsvision")

RANDOM = "random:"
DEFAULT = "penultimate"


@dataclass(frozen=True)
class Model:
    """A network of a report, trained or random, and the modules wanted of it.

    Parameters
    ----------
    name : str
        As `load_model` takes it, or the network's own.
    trained : bool
        Whether it has its weights, or random ones.
    modules : tuple of str
        Addresses and patterns.
    network : Network, optional
        One that is in memory already.
    """

    name: str
    trained: bool
    modules: tuple[str, ...]
    network: Network | None = None

    @property
    def weights(self) -> str:
        """The word for tables and figures."""
        return "trained" if self.trained else "random"

    @property
    def short(self) -> str:
        """The name without its source."""
        return self.name.rpartition("/")[2]

    @property
    def folder(self) -> Path:
        """Where its files lie, below those of a set."""
        return Path(file_name(self.name), self.weights)

    def load(self, seed: int, device: str) -> Network:
        """Load the network, unless it is there."""
        if self.network is not None:
            return self.network
        try:
            return load_model(self.name, pretrained=self.trained, seed=seed, device=device)
        except WeightsError as error:
            raise WeightsError(
                f"{error} Here, {RANDOM}{self.name} takes random weights in their place."
            ) from error


def file_name(text: str) -> str:
    """Spell a name as that of a file or folder, in letters that one can read.

    Examples
    --------
    >>> file_name("torchvision/alexnet"), file_name("human IT")
    ('torchvision-alexnet', 'human_IT')
    """
    plain = text.replace("/", "-").replace(" ", "_")
    return file_names([plain])[plain]


def read_models(models: Sequence[str | Network] | str | Network, random: bool) -> list[Model]:
    """Read ``MODEL``, ``MODEL@MODULE`` and ``random:MODEL@MODULE``; modules of one are joined.

    Parameters
    ----------
    models : sequence of str or Network
        What is wanted.
    random : bool
        Take each trained network with random weights as well.

    Returns
    -------
    list of Model
        In the order given, each network with random weights behind the trained one.

    Examples
    --------
    >>> for model in read_models(["resnet18@layer1", "resnet18@layer4"], random=True):
    ...     print(model.name, model.weights, model.modules)
    resnet18 trained ('layer1', 'layer4')
    resnet18 random ('layer1', 'layer4')
    """
    given = [models] if isinstance(models, str | Network) else list(models)
    if not given:
        raise InvalidArgument("There is no network to compare. Name one, e.g. torchvision/alexnet.")
    found: dict[tuple[str, bool], tuple[list[str], Network | None]] = {}
    for one in given:
        if isinstance(one, Network):
            name, module, network = one.name, DEFAULT, one
            trained = one.weights.get("kind") != "random"
        else:
            trained, network = not one.startswith(RANDOM), None
            name, _, module = one.removeprefix(RANDOM).partition("@")
            if not name or (not module and "@" in one):
                raise InvalidArgument(
                    f"{one!r} is no network. Write MODEL, MODEL@MODULE or random:MODEL@MODULE, "
                    "e.g. torchvision/alexnet@features.10."
                )
        modules, other = found.setdefault((name, trained), ([], network))
        if other is not network:
            raise InvalidArgument(
                f"Two networks are called {name!r}, both {'trained' if trained else 'random'}. "
                "Give each a name of its own, so that files and tables tell them apart."
            )
        modules.append(module or DEFAULT)
    if random:
        for (name, trained), (modules, network) in list(found.items()):
            if trained and network is None:
                found.setdefault((name, False), (list(modules), None))
    names = dict.fromkeys(name for name, _ in found)
    return [
        Model(name, trained, tuple(dict.fromkeys(found[name, trained][0])), found[name, trained][1])
        for name in names
        for trained in (True, False)
        if (name, trained) in found
    ]


def module_rdms(
    model: Model,
    network: Network,
    data: ReferenceSet,
    out: Path,
    dissimilarity: str,
    options: Mapping[str, Any],
) -> Iterator[RDM]:
    """Compute the RDM of each module that is wanted, extracting what is missing.

    Features lie in ``out/features/SET/MODEL/WEIGHTS`` and stay there, RDMs likewise in
    ``out/rdms``.

    Parameters
    ----------
    model, network : Model, Network
        The network.
    data : ReferenceSet
        Its stimuli are used.
    out : pathlib.Path
        The report's folder.
    dissimilarity : str
        As in `compute_rdm`.
    options : dict
        As in `extract_features`: batch_size, seed, progress.

    Yields
    ------
    RDM
        In the order in which the network calls the modules.
    """
    path = Path(file_name(data.name), model.folder)
    planning = {key: value for key, value in options.items() if key != "progress"}
    captures = plan(network, data.stimuli, model.modules, **planning).captures
    wanted = [one.address for one in sorted(captures, key=lambda one: one.order)]
    found = _features(network, data, wanted, out / "features" / path, options)
    files = file_names(wanted)
    for module in wanted:
        rdm = compute_rdm(found[module], dissimilarity)
        rdm.save(out / "rdms" / path / f"{files[module]}.npz")
        yield rdm


def _features(
    network: Network,
    data: ReferenceSet,
    wanted: Sequence[str],
    folder: Path,
    options: Mapping[str, Any],
) -> dict[str, Features]:
    """Open what was extracted before, finish what was begun, and extract the rest."""
    found: dict[str, Features] = {}
    for store in sorted(folder.iterdir()) if folder.is_dir() else []:
        if not (store / META).is_file():
            continue
        there = list(read_meta(store)["request"]["modules"])
        if set(there) & set(wanted) - set(found):
            # Which checks weights, images and all else, and computes what is missing only.
            found |= extract_features(network, data.stimuli, there, out=store, **options)
    if missing := [module for module in wanted if module not in found]:
        store = folder / digest_items(missing)[:8]
        found |= extract_features(network, data.stimuli, missing, out=store, **options)
    return found
