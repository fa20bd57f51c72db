"""One order of stimuli for several RDMs, by clustering, so that structure can be seen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..errors import InvalidArgument
from .joining import joined, laid_out, side
from .ranks import ranked
from .rdm import RDM


class Clusters(NamedTuple):
    """Stimuli in the order of a dendrogram, and the cluster of each.

    Parameters
    ----------
    ids : tuple of str
        In the order to draw them in.
    labels : tuple of int
        From 1 on, in the same order: those of a cluster stand together.
    """

    ids: tuple[str, ...]
    labels: tuple[int, ...]


def cluster_stimuli(rdms: Sequence[RDM], n_clusters: int = 5) -> Clusters:
    """Group stimuli by what several RDMs have in common.

    Each RDM is ranked, so that none outweighs another; the means are clustered by average
    linkage, and the leaves ordered so that neighbours are as alike as the tree allows
    (Bar-Joseph et al., 2001, doi:10.1093/bioinformatics/17.suppl_1.S22).

    Parameters
    ----------
    rdms : list of RDM
        Of the same stimuli, with ids; they are joined by them.
    n_clusters : int
        From 1 to the number of stimuli; equal distances can leave fewer.

    Returns
    -------
    Clusters

    Raises
    ------
    InvalidArgument
        If the RDMs carry no ids, there are not as many stimuli as clusters, or fewer than
        three stimuli.
    MismatchError
        If the RDMs have different stimuli.

    Examples
    --------
    >>> import numpy as np
    >>> rdm = RDM(np.array([0.9, 0.1, 0.8]), ids=("cat.jpg", "cup.jpg", "dog.jpg"))
    >>> clusters = cluster_stimuli([rdm], 2)
    >>> sorted(zip(clusters.ids, clusters.labels))
    [('cat.jpg', 2), ('cup.jpg', 1), ('dog.jpg', 2)]
    """
    from scipy.cluster.hierarchy import fcluster, leaves_list, linkage

    models = side(list(rdms), "rdms")
    ids = joined([models], by_position=False, least=3)
    if ids is None:
        raise InvalidArgument("Clusters name stimuli, but these RDMs carry no ids.")
    if not 1 <= n_clusters <= len(ids):
        raise InvalidArgument(f"n_clusters is {n_clusters}; it is from 1 to {len(ids)}.")
    mean = ranked(laid_out(models, ids, constant_too=True)).mean(axis=0)
    tree = linkage(mean, "average", optimal_ordering=True)
    leaves = leaves_list(tree)
    found = fcluster(tree, n_clusters, "maxclust")[leaves]
    number: dict[int, int] = {}
    for label in found.tolist():
        number.setdefault(label, len(number) + 1)
    return Clusters(tuple(ids[leaf] for leaf in leaves), tuple(number[n] for n in found.tolist()))
