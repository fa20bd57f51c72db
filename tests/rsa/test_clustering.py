from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.cluster.hierarchy import cophenet, linkage
from scipy.spatial.distance import pdist

from thingsvision.errors import InvalidArgument, MismatchError
from thingsvision.rsa.clustering import cluster_stimuli
from thingsvision.rsa.rdm import RDM


def blobs(seed: int, order: list[int]) -> RDM:
    """Make an RDM of three tight groups far apart, its stimuli in some order."""
    rng = np.random.default_rng(seed)
    points = np.repeat(np.eye(3) * 10, 4, axis=0) + rng.random((12, 3))
    return RDM(pdist(points[order]), tuple(f"{'abc'[row // 4]}{row}" for row in order))


@given(st.permutations(range(12)), st.permutations(range(12)))
def test_groups_that_are_plain_to_see_are_found(one: list[int], other: list[int]) -> None:
    ids, labels = cluster_stimuli([blobs(0, one), blobs(1, other)], 3)
    assert sorted(ids) == sorted(blobs(0, list(range(12))).ids or ())
    assert list(labels) == [1] * 4 + [2] * 4 + [3] * 4  # those of a cluster stand together
    assert len({(name[0], label) for name, label in zip(ids, labels, strict=True)}) == 3


def test_one_rdm_does_not_outweigh_another_by_its_scale() -> None:
    rng = np.random.default_rng(0)
    ids = tuple(map(str, range(9)))
    one, other = RDM(rng.random(36), ids), RDM(rng.random(36), ids)
    scaled = RDM(other.dissimilarities * 1e6, ids)
    assert cluster_stimuli([one, other], 4) == cluster_stimuli([one, scaled], 4)


def test_neighbours_are_as_alike_as_the_tree_allows() -> None:
    rng = np.random.default_rng(1)
    rdm = RDM(rng.random(45), tuple(map(str, range(10))))
    ids, _ = cluster_stimuli([rdm], 2)
    square = rdm.select(ids).square()
    tree = linkage(rdm.dissimilarities, "average")
    plain = [str(k) for k in np.argsort(cophenet(tree, rdm.dissimilarities)[1][:9])]
    assert np.trace(square, 1) <= np.trace(rdm.select([*plain, "9"]).square(), 1) + 1e-9


def test_what_cannot_be_clustered_is_refused() -> None:
    rdm = RDM(np.random.default_rng(0).random(6), tuple("abcd"))
    with pytest.raises(InvalidArgument, match="n_clusters is 5; it is from 1 to 4"):
        cluster_stimuli([rdm], 5)
    with pytest.raises(InvalidArgument, match="carry no ids"):
        cluster_stimuli([RDM(rdm.dissimilarities)], 2)
    with pytest.raises(MismatchError, match="different stimuli"):
        cluster_stimuli([rdm, RDM(rdm.dissimilarities, tuple("abce"))], 2)
