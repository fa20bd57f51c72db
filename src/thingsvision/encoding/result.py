"""The result of an encoding analysis: scores per target, and their summary as a tidy table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import counted, unknown

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False, repr=False)
class EncodingResult:
    """Cross-validated scores of encoding models.

    Parameters
    ----------
    modules : tuple of str
        One per model: modules, ``"(chosen)"`` for the nested choice among
        them, or their names joined by `` + `` for bands.
    scores : dict of str to array, shape (n_models, n_targets)
        ``"pearson"`` and ``"r2"``; where the reliability is known, also ``"pearson_normalised"``
        and ``"r2_normalised"``. NaN where a score is not defined.
    fold_scores : dict of str to array, shape (n_models, n_folds, n_targets)
        ``"pearson"`` and ``"r2"`` of each fold.
    alphas : array, shape (n_models, n_folds, n_targets)
        Penalties that were chosen on the training rows.
    bands : tuple of str
        Modules that are bands of a banded ridge.
    shares : array, shape (n_folds, n_bands, n_targets), optional
        Weights of the bands; they sum to 1.
    chosen : array of str, shape (n_folds, n_targets), optional
        The module that was chosen on the training rows of each fold.
    reliability : array, shape (n_targets,), optional
        Of the responses.
    target_names : tuple of str, optional
        Of the responses.
    provenance : dict
        Models, reference, folds, seed, ids, versions.

    Examples
    --------
    >>> import thingsvision as tv
    >>> rng = np.random.default_rng(0)
    >>> features = rng.normal(size=(60, 5))
    >>> result = tv.fit_encoding(features, features @ rng.normal(size=(5, 2)), cv=3)
    >>> result
    EncodingResult(1 model, 2 targets, 3 folds)
    >>> result.table[["score", "mean", "n_targets"]].round(2)
         score  mean  n_targets
    0  pearson   1.0          2
    1       r2   1.0          2
    """

    modules: tuple[str, ...]
    scores: Mapping[str, NDArray[np.float64]]
    fold_scores: Mapping[str, NDArray[np.float64]]
    alphas: NDArray[np.float64]
    bands: tuple[str, ...] = ()
    shares: NDArray[np.float64] | None = None
    chosen: NDArray[np.str_] | None = None
    reliability: NDArray[np.float64] | None = None
    target_names: tuple[str, ...] | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def table(self) -> pd.DataFrame:
        """Summary, one row per model and score.

        Columns: model, module, reference, score, mean, median (over targets whose
        score is defined), n_targets (of those), n_undefined, n_stimuli, n_features,
        n_folds, seed.
        """
        import pandas as pd

        about = self.provenance
        rows = []
        for number, module in enumerate(self.modules):
            for score, values in self.scores.items():
                defined = values[number][np.isfinite(values[number])]
                rows.append(
                    {
                        "model": about["models"][number],
                        "module": module,
                        "reference": about["reference"],
                        "score": score,
                        "mean": float(defined.mean()) if len(defined) else np.nan,
                        "median": float(np.median(defined)) if len(defined) else np.nan,
                        "n_targets": len(defined),
                        "n_undefined": values.shape[1] - len(defined),
                        "n_stimuli": about["n_stimuli"],
                        "n_features": about["n_features"][number],
                        "n_folds": self.alphas.shape[1],
                        "seed": about["seed"],
                    }
                )
        return pd.DataFrame(rows)

    def per_target(self) -> pd.DataFrame:
        """Make a table of one row per model and target.

        Returns
        -------
        pandas.DataFrame
            Columns: module, target, the scores, reliability if it is known, alpha (the
            geometric mean over folds).
        """
        import pandas as pd

        n_targets = self.alphas.shape[2]
        names: Sequence[Any] = self.target_names or range(n_targets)
        parts = []
        for number, module in enumerate(self.modules):
            columns: dict[str, Any] = {"module": module, "target": list(names)}
            columns |= {score: values[number] for score, values in self.scores.items()}
            if self.reliability is not None:
                columns["reliability"] = self.reliability
            columns["alpha"] = np.exp(np.log(self.alphas[number]).mean(axis=0))
            parts.append(pd.DataFrame(columns))
        return pd.concat(parts, ignore_index=True)

    def score(self, name: str = "pearson", module: str | None = None) -> NDArray[np.float64]:
        """Take one score of one model.

        Parameters
        ----------
        name : str
            A key of `scores`.
        module : str, optional
            One of `modules`; may be left out if there is one.

        Returns
        -------
        array, shape (n_targets,)

        Raises
        ------
        UnknownName
            If there is no such score or module.
        """
        if name not in self.scores:
            raise unknown(
                "score", name, self.scores, "Normalised scores need the responses' reliability."
            )
        if module is None and len(self.modules) == 1:
            module = self.modules[0]
        if module not in self.modules:
            raise unknown("module", str(module), self.modules, "Name one of them.")
        return np.asarray(self.scores[name][self.modules.index(module)])

    def __repr__(self) -> str:
        n_models, n_folds, n_targets = self.alphas.shape
        return (
            f"EncodingResult({counted(n_models, 'model')}, {counted(n_targets, 'target')}, "
            f"{counted(n_folds, 'fold')})"
        )
