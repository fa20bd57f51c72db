"""The report of a representational similarity analysis: features, RDMs, statistics, figures."""

from __future__ import annotations

import logging
import os
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InvalidArgument, ThingsvisionError, ThingsvisionWarning, counted, listing
from ..rsa.comparison import COMPARISONS
from ..rsa.dissimilarity import DISSIMILARITIES
from ..rsa.inference import compare_models, compare_models_pairwise
from ..rsa.module_choice import choose_module
from ..rsa.rdm import RDM
from ..zoo import Network
from .models import Model, file_name, module_rdms, read_models
from .page import write_page
from .pictures import draw
from .sets import ReferenceSet

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger("thingsvision")

FOLDS = 5  # in which a module is chosen


@dataclass(frozen=True, eq=False)
class RSAReport:
    """What a report found, and where it lies.

    Parameters
    ----------
    folder : pathlib.Path
        Everything.
    table : pandas.DataFrame
        A row for each set, network, module and reference: set, model, weights, module, and
        what `compare_models` returns.
    pairwise : pandas.DataFrame
        Each pair of networks, as `compare_models_pairwise` returns it; empty for one network.
    chosen : pandas.DataFrame
        Of networks of which several modules were wanted: set, model, weights, reference,
        module (the best), estimate (held out, see `choose_module`).
    figures : dict of str to pathlib.Path
        The PNG files; a PDF lies beside each.
    failed : dict of str to str
        Networks that are missing, and why.
    """

    folder: Path
    table: pd.DataFrame
    pairwise: pd.DataFrame
    chosen: pd.DataFrame
    figures: dict[str, Path]
    failed: dict[str, str] = field(default_factory=dict)


def report_rsa(
    models: Sequence[str | Network] | str | Network,
    sets: ReferenceSet | Sequence[ReferenceSet],
    out: str | os.PathLike[str],
    *,
    random: bool = False,
    dissimilarity: str = "correlation",
    comparison: str = "pearson",
    n_resamples: int = 1000,
    level: float = 0.95,
    n_clusters: int = 5,
    n_drawn: int = 200,
    photographs: bool = False,
    batch_size: int = 32,
    seed: int = 0,
    device: str = "auto",
    progress: bool | None = None,
) -> RSAReport:
    """Compare networks with brains and behaviour, and write features, RDMs, figures and tables.

    What lies in `out` from an earlier run is used again, once it is checked to be of the same
    images, weights and settings.

    Parameters
    ----------
    models : sequence of str or Network
        ``MODEL``, ``MODEL@MODULE`` (a pattern may hold ``*`` and ``?``; the same network may be
        named with several), ``random:MODEL`` for random weights; or networks in memory. Without
        a module it is ``penultimate``.
    sets : ReferenceSet or list of them
        From `make_set` or `read_sets`.
    out : path
        Folder to write to.
    random : bool
        Take each network with random weights as well.
    dissimilarity : str
        As in `compute_rdm`.
    comparison : str
        As in `compare_models`.
    n_resamples : int
        Of the bootstrap behind intervals and p values, 2 or more.
    level : float
        Of the confidence intervals.
    n_clusters : int
        Groups of the stimuli in figures, where a set has no order of its own; see
        `cluster_stimuli`. They are found from the networks' RDMs, not from the references'.
    n_drawn : int
        Stimuli of larger sets that are drawn, chosen at random. Statistics are of all.
    photographs : bool
        Draw each RDM also for itself, with the photographs along its edges.
    batch_size : int
        Images in one forward pass.
    seed : int
        Of random weights and all draws.
    device : str
        As in `load_model`.
    progress : bool, optional
        As in `extract_features`.

    Returns
    -------
    RSAReport

    Raises
    ------
    InvalidArgument, UnknownName, MismatchError
        If an argument is not allowed.
    ThingsvisionError
        If no network could be compared; if only some failed, a warning names them.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from thingsvision import RDM, make_set
    >>> rng = np.random.default_rng(0)
    >>> images = rng.integers(0, 256, (8, 64, 64, 3), np.uint8)
    >>> human = [RDM(rng.random(28)), RDM(rng.random(28))]
    >>> data = make_set("noise", images, {"human": human}, by_position=True)
    >>> report = report_rsa("random:torchvision/alexnet", data, tempfile.mkdtemp(),
    ...                     n_resamples=100)
    >>> report.table[["model", "weights", "reference", "n_stimuli", "n_subjects"]].values.tolist()
    [['torchvision/alexnet', 'random', 'human', 8, 2]]
    """
    DISSIMILARITIES[dissimilarity], COMPARISONS[comparison]  # refuse what is unknown, at once
    data = [sets] if isinstance(sets, ReferenceSet) else list(sets)
    if not data:
        raise InvalidArgument("There is no set of stimuli to compare networks on.")
    folders = Counter(file_name(one.name).lower() for one in data)
    if shared := [one.name for one in data if folders[file_name(one.name).lower()] > 1]:
        raise InvalidArgument(
            f"The sets {listing([repr(name) for name in shared])} would be written to the same "
            "files. Give them names that differ in more than case, spaces and slashes."
        )
    wanted = read_models(models, random)
    folder = Path(out).expanduser()
    options = {"batch_size": batch_size, "seed": seed, "progress": progress}
    rdms: dict[str, dict[Model, list[RDM]]] = {one.name: {} for one in data}
    failed: dict[str, str] = {}
    for number, model in enumerate(wanted, 1):
        log.info("Network %d of %d: %s, %s.", number, len(wanted), model.name, model.weights)
        try:
            network = model.load(seed, device)
            for one in data:
                found = list(module_rdms(model, network, one, folder, dissimilarity, options))
                rdms[one.name][model] = found
        except ThingsvisionError as error:
            if len(wanted) == 1:
                raise
            failed[f"{model.name} ({model.weights})"] = str(error)
    if not any(rdms.values()):
        told = "\n  ".join(f"{name}: {why}" for name, why in failed.items())
        raise ThingsvisionError(f"No network could be compared:\n  {told}")
    inference = {"comparison": comparison, "n_resamples": n_resamples, "seed": seed}
    table, pairwise, chosen = _statistics(data, rdms, inference, level)
    for name, rows in {"table": table, "pairwise": pairwise, "chosen": chosen}.items():
        (folder / f"{name}.csv").unlink(missing_ok=True)  # of an earlier run, with other networks
        if len(rows):
            rows.to_csv(folder / f"{name}.csv", index=False)
    figures = draw(folder, data, rdms, table, n_clusters, n_drawn, photographs, seed)
    settings = {"dissimilarity": dissimilarity, **inference, "level": level,
                "clusters": n_clusters}  # fmt: skip
    write_page(folder, data, table, chosen, figures, settings, failed)
    if failed:
        lines = "\n  ".join(f"{name}: {why}" for name, why in failed.items())
        warnings.warn(
            f"{counted(len(failed), 'network')} of {len(wanted)} could not be compared; the "
            f"report is of the others:\n  {lines}",
            ThingsvisionWarning,
            stacklevel=2,
        )
    return RSAReport(folder, table, pairwise, chosen, figures, failed)


def _statistics(
    data: Sequence[ReferenceSet],
    rdms: dict[str, dict[Model, list[RDM]]],
    inference: dict[str, Any],
    level: float,
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Compare all modules with all references of each set."""
    import pandas as pd

    tables, pairs, choices = [], [], []
    for one in data:
        flat = [(model, rdm) for model, found in rdms[one.name].items() for rdm in found]
        if not flat:
            continue
        numbered = {str(k): {rdm.provenance["module"]: rdm} for k, (_, rdm) in enumerate(flat)}
        for reference, subjects in one.references.items():
            given = {reference: list(subjects)}
            rows = compare_models(numbered, given, level=level, **inference)
            tables.append(_labelled(rows, one.name, flat, {"": rows["model"]}))
            if len(flat) > 1:
                rows = compare_models_pairwise(numbered, given, level=level, **inference)
                sides = {"_a": rows["model_a"], "_b": rows["model_b"]}
                pairs.append(_labelled(rows, one.name, flat, sides))
            choices += _choices(one, reference, rdms[one.name], inference)
    return (
        pd.concat(tables, ignore_index=True),
        pd.concat(pairs, ignore_index=True) if pairs else pd.DataFrame(),
        pd.DataFrame(choices),
    )


def _labelled(
    rows: pd.DataFrame, name: str, flat: Sequence[tuple[Model, RDM]], sides: dict[str, Any]
) -> pd.DataFrame:
    """Put the names of networks, weights and modules in place of numbers."""
    columns: dict[str, Any] = {"set": name}
    for suffix, numbers in sides.items():
        of = [flat[int(number)] for number in numbers]
        columns[f"model{suffix}"] = [model.name for model, _ in of]
        columns[f"weights{suffix}"] = [model.weights for model, _ in of]
        columns[f"module{suffix}"] = [rdm.provenance["module"] for _, rdm in of]
    rest = rows.drop(columns=[column for column in columns if column in rows])
    return rest.assign(**columns)[[*columns, *rest.columns]]


def _choices(
    one: ReferenceSet,
    reference: str,
    rdms: dict[Model, list[RDM]],
    inference: dict[str, Any],
) -> list[dict[str, Any]]:
    """Choose the best of several modules of each network, judged on what it was not chosen by."""
    subjects = list(one.references[reference])
    n_folds = min(FOLDS, len(one.stimuli) // 4)
    if n_folds < 2:
        return []
    rows = []
    for model, found in rdms.items():
        if len(found) > 1:
            choice = choose_module(
                {rdm.provenance["module"]: rdm for rdm in found}, subjects,
                inference["comparison"], "both" if len(subjects) > 1 else "stimuli",
                n_folds, inference["seed"],
            )  # fmt: skip
            rows.append({"set": one.name, "model": model.name, "weights": model.weights,
                         "reference": reference, "module": choice.module,
                         "estimate": choice.estimate})  # fmt: skip
    return rows
