"""Records of other packages, against those packages themselves."""

from __future__ import annotations

import sys
from io import BytesIO
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import pdist

from thingsvision.errors import InvalidArgument, MismatchError, MissingPackage
from thingsvision.extraction import extract_features
from thingsvision.features import Features, FeatureSet
from thingsvision.rsa.dissimilarity import DISSIMILARITIES
from thingsvision.rsa.rdm import RDM, compute_rdm
from thingsvision.store import open_features
from thingsvision.store.lazy import LazyArray
from thingsvision.testing import toy_network

IDS = ("zebra/é 1.png", "ant.png", "cup.png", "b/dog.png", "fox.png")
PROVENANCE = {"model": "torchvision/alexnet", "seed": 0, "modules": {"conv": None, "ü": [1, 2.5]}}


def make(shape: tuple[int, ...] = (3, 2, 4), module: str = "conv", dtype: Any = np.float32) -> Any:
    axes = ("stimulus", "channel", "height", "width", "time")[: len(shape) + 1]
    axes = axes if len(shape) != 1 else ("stimulus", "feature")
    array = np.random.default_rng(len(module)).normal(size=(len(IDS), *shape)).astype(dtype)
    return Features(array, IDS, module, axes, np.array([4, 0, 2, 1, 0]), PROVENANCE)


def assert_same(a: Features, b: Features, exact_type: bool = True) -> None:
    assert np.array_equal(np.asarray(a), np.asarray(b)) and a.shape == b.shape
    assert not exact_type or a.dtype == b.dtype
    assert (a.ids, a.module, a.axes, a.provenance) == (b.ids, b.module, b.axes, b.provenance)
    assert (a.targets is None) == (b.targets is None)
    assert a.targets is None or a.targets.tolist() == b.targets.tolist()


# ---- xarray --------------------------------------------------------------------------------------

SHAPES = [(), (1,), (7,), (3, 4), (3, 2, 4), (2, 3, 2, 2)]


@pytest.fixture
def xarray() -> Any:
    return pytest.importorskip("xarray")


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int16, bool])
def test_xarray_and_back(xarray: Any, shape: tuple[int, ...], dtype: Any) -> None:
    features = make(shape, dtype=dtype)
    array = features.to_xarray()
    assert array.dims == ("presentation", "neuroid") and array.dtype == dtype
    assert_same(Features.from_xarray(array), features)
    assert_same(Features.from_xarray(array.transpose()), features)


def test_coordinates_are_those_of_brain_score(xarray: Any) -> None:
    features = make()
    array = features.to_xarray()
    assert array.stimulus_id.values.tolist() == list(IDS)
    assert array.target.values.tolist() == [4, 0, 2, 1, 0]
    assert array.neuroid_id.values[1] == "torchvision/alexnet.conv.1"
    assert set(array.module.values) == set(array.layer.values) == {"conv"}
    assert set(array.model.values) == {"torchvision/alexnet"}
    one = np.flatnonzero((array.channel == 2) & (array.height == 1) & (array.width == 3))
    assert np.array_equal(array.values[:, one[0]], features.array[:, 2, 1, 3])
    assert "target" not in Features(np.eye(2), ("a", "b")).to_xarray().coords
    assert np.shares_memory(array.values, features.array)


def neuroid_assembly(array: Any) -> Any:
    """Index an array by all its coordinates, as NeuroidAssembly of brainio does when it is made."""
    along = {
        dim: [n for n, c in array.coords.items() if c.dims == (dim,) and n != dim]
        for dim in array.dims
    }
    return array.set_index(append=True, **{dim: names for dim, names in along.items() if names})


def test_assemblies_of_brain_score(xarray: Any) -> None:
    features = make()
    assembly = neuroid_assembly(features.to_xarray())
    assert assembly.sel(stimulus_id="ant.png").shape == (1, 24)
    assert_same(Features.from_xarray(assembly), features)
    foreign = neuroid_assembly(
        xarray.DataArray(
            np.arange(12.0).reshape(4, 3),
            dims=("neuroid", "presentation"),
            coords={
                "image_id": ("presentation", [11, 12, 13]),
                "object_name": ("presentation", ["a", "b", "c"]),
                "neuroid_id": ("neuroid", list("abcd")),
                "region": ("neuroid", ["IT"] * 4),
            },
        )
    )
    with pytest.raises(InvalidArgument, match=r"no coordinate 'stimulus_id' .* image_id, .*ids="):
        Features.from_xarray(foreign)
    found = Features.from_xarray(foreign, ids="image_id")
    assert found.ids == ("11", "12", "13") and found.shape == (3, 4) and found.provenance == {}
    assert found.axes == ("stimulus", "feature") and found.array[0].tolist() == [0, 3, 6, 9]
    named = foreign.reset_index("neuroid").assign_coords(
        layer=("neuroid", ["fc"] * 4), model=("neuroid", ["net"] * 4)
    )
    found = Features.from_xarray(named, ids="image_id")
    assert (found.module, found.provenance) == ("fc", {"model": "net"})


def test_the_assemblies_of_brainio_itself(xarray: Any) -> None:
    assemblies = pytest.importorskip("brainio.assemblies", reason="brainio is not installed")
    parts = FeatureSet({"conv": make(), "fc": make((7,), "fc")})
    assembly = assemblies.NeuroidAssembly(parts.to_xarray())
    assembly.validate()
    for name, features in parts.items():
        assert_same(FeatureSet.from_xarray(assembly)[name], features)
        assert_same(Features.from_xarray(assembly.sel(layer=name)), features)
        assert_same(Features.from_xarray(assembly.multisel(layer=name)), features)
    assert Features.from_xarray(assembly.sel(layer="conv", channel=1)).shape == (5, 8)


def test_a_selection_of_neuroids_stays_flat(xarray: Any) -> None:
    features = make()
    array = features.to_xarray()
    flat = features.array.reshape(5, -1)
    every = np.random.default_rng(0).permutation(24)
    for chosen in (np.arange(8), [3], [0] * 24):
        found = Features.from_xarray(array.isel(neuroid=chosen))
        assert found.axes == ("stimulus", "feature") and found.module == "conv"
        assert np.array_equal(found.array, flat[:, chosen])
    assembly = neuroid_assembly(array)
    channel = Features.from_xarray(assembly.sel(channel=1))
    assert np.array_equal(channel.array, features.array[:, 1].reshape(5, -1))
    assert channel.axes == ("stimulus", "feature")
    # All of them, in another order, are put into their places.
    assert_same(Features.from_xarray(array.isel(neuroid=every)), features)
    rows = Features.from_xarray(array.isel(presentation=[3, 0]))
    assert_same(rows, features.select([IDS[3], IDS[0]]))


def test_arrays_that_are_no_features_are_refused(xarray: Any) -> None:
    array = make().to_xarray()
    with pytest.raises(InvalidArgument, match="no coordinate 'stimulus_id'"):
        Features.from_xarray(array.drop_vars("stimulus_id"))
    with pytest.raises(InvalidArgument, match=r"has time_bin \(2\), neuroid \(24\).*isel\(time"):
        Features.from_xarray(array.expand_dims(time_bin=2))
    with pytest.raises(InvalidArgument, match=r"this one has none.*isel\(neuroid=\[0\]\)"):
        Features.from_xarray(array.isel(neuroid=0))
    with pytest.raises(InvalidArgument, match="no coordinate"):
        Features.from_xarray(array.isel(presentation=0))


def test_modules_lie_side_by_side(xarray: Any) -> None:
    parts = [make(), make((7,), "fc", np.float64), make((4, 3), "tokens")]
    features = FeatureSet({part.module: part for part in parts})
    array = features.to_xarray()
    assert array.shape == (5, 24 + 7 + 12) and array.dtype == np.float64
    assert array.height.values[24:].tolist() == [-1] * 7 + list(range(3)) * 4
    assert dict(zip(*np.unique(array.module, return_counts=True), strict=True)) == {
        "conv": 24, "fc": 7, "tokens": 12,
    }  # fmt: skip
    for back in (FeatureSet.from_xarray(array), FeatureSet.from_xarray(array[:, ::-1])):
        assert set(back) == set(features)
        for name in ("conv", "tokens"):
            assert_same(back[name], features[name], exact_type=False)
    assert_same(FeatureSet.from_xarray(array)["fc"], features["fc"])
    one = array[:, (array.module == "tokens").values]
    assert_same(Features.from_xarray(one), features["tokens"], exact_type=False)
    with pytest.raises(InvalidArgument, match=r"3 modules: conv, fc, tokens.*FeatureSet"):
        Features.from_xarray(array)
    other = FeatureSet({"a": make(), "b": make().select(IDS[::-1])})
    with pytest.raises(MismatchError, match="of b are of other stimuli than those of a,"):
        other.to_xarray()
    with pytest.raises(InvalidArgument, match="no features of any module"):
        FeatureSet({}).to_xarray()


@pytest.mark.parametrize("engine", ["scipy", "zarr", "h5netcdf", "netcdf4"])
def test_files_of_xarray(xarray: Any, engine: str, tmp_path: Any) -> None:
    if engine not in xarray.backends.list_engines():
        pytest.skip(f"xarray has no engine {engine} here")
    features, path = make(), tmp_path / "features"
    array = features.to_xarray()
    if engine == "zarr":
        array.to_zarr(path, consolidated=False)
        found = xarray.open_dataarray(path, engine=engine, consolidated=False)
    else:
        array.to_netcdf(path, engine=engine)
        found = xarray.open_dataarray(path, engine=engine)
    with found:
        assert_same(Features.from_xarray(found), features)


def test_an_array_in_a_file_is_read_once(xarray: Any) -> None:
    held, reads = make(), []

    def read(rows: Any) -> Any:
        reads.append(rows)
        return held.array[rows]

    lazy = LazyArray(read, held.shape, held.dtype, "conv.h5")
    features = Features(lazy, *[getattr(held, n) for n in ("ids", "module", "axes")])
    array = features.to_xarray()
    assert np.array_equal(Features.from_xarray(array).array, held.array)
    FeatureSet({"conv": features}).to_xarray()
    assert reads == [slice(None)] * 2


def test_features_of_a_network_go_there_and_back(xarray: Any, numbered: Any, tmp_path: Any) -> None:
    made = extract_features(toy_network(), numbered(3), ["split[1]", "thin"], out=tmp_path / "f")
    for features in (made, open_features(tmp_path / "f")):
        for name, back in FeatureSet.from_xarray(features.to_xarray()).items():
            assert_same(back, features[name])
            assert_same(Features.from_pandas(features[name].to_pandas()), features[name])


@pytest.mark.parametrize("package", ["xarray", "rsatoolbox"])
def test_the_absent_package_is_named(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingPackage, match=rf"'{package}'.*pip install \"\.\[interop\]\""):
        getattr(make(), f"to_{package}")()


# ---- rsatoolbox ----------------------------------------------------------------------------------


@pytest.fixture
def rsatoolbox() -> Any:
    pytest.importorskip("rsatoolbox.rdm")
    return pytest.importorskip("rsatoolbox")


# our dissimilarity -> rsatoolbox's method, and ours as a function of theirs and of n_channels
RELATIONS = {
    "correlation": ("correlation", lambda theirs, n: theirs),
    "euclidean": ("euclidean", lambda theirs, n: np.sqrt(theirs * n)),
    "squared_euclidean": ("euclidean", lambda theirs, n: theirs * n),
}


@pytest.mark.parametrize("dissimilarity", RELATIONS)
@pytest.mark.parametrize("descriptor", [None, "conds"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rdms_computed_there_are_ours(
    rsatoolbox: Any, dissimilarity: str, descriptor: str | None, dtype: Any
) -> None:
    if dissimilarity not in DISSIMILARITIES:
        pytest.skip(f"there is no {dissimilarity} yet")
    method, ours_of = RELATIONS[dissimilarity]
    features = make(dtype=dtype)
    rdms = rsatoolbox.rdm.calc_rdm(features.to_rsatoolbox(), method, descriptor)
    theirs, ours = RDM.from_rsatoolbox(rdms), compute_rdm(features, dissimilarity)
    # With a descriptor rsatoolbox sorts the conditions; ids bring them together again.
    assert set(theirs.ids) == set(IDS) and (theirs.ids == IDS) == (descriptor is None)
    values = ours_of(theirs.select(IDS).dissimilarities, 24)
    tolerance = 1e-12 if dtype == np.float64 else 1e-5
    np.testing.assert_allclose(ours.dissimilarities, values, rtol=tolerance)
    assert theirs.provenance == {**PROVENANCE, "module": "conv"} == ours.provenance
    assert theirs.name == ours.name == "torchvision/alexnet conv"


def test_names_of_measures_do_not_mislead(rsatoolbox: Any) -> None:
    features = make()
    rdm = compute_rdm(features, "euclidean")
    out = rdm.to_rsatoolbox()
    assert out.dissimilarity_measure == "euclidean (summed over channels)"
    assert RDM.from_rsatoolbox(out).dissimilarity == "euclidean"
    theirs = rsatoolbox.rdm.calc_rdm(features.to_rsatoolbox(), "euclidean")
    assert theirs.dissimilarity_measure == "squared euclidean"
    root = rsatoolbox.rdm.sqrt_transform(theirs)
    for one in (theirs, root):
        read = RDM.from_rsatoolbox(one)
        assert read.dissimilarity not in DISSIMILARITIES
        assert read.to_rsatoolbox().dissimilarity_measure == one.dissimilarity_measure
    unbalanced = rsatoolbox.rdm.calc_rdm_unbalanced(features.to_rsatoolbox(), "euclidean", "conds")
    assert unbalanced.dissimilarity_measure == "euclidean"  # though it is squared
    read = RDM.from_rsatoolbox(unbalanced)
    assert read.dissimilarity == "euclidean (rsatoolbox)"
    assert np.allclose(read.select(IDS).dissimilarities * 24, rdm.dissimilarities**2, rtol=1e-5)
    squared = pdist(features.array.reshape(5, -1).astype(float), "sqeuclidean")
    np.testing.assert_allclose(RDM.from_rsatoolbox(theirs).dissimilarities, squared / 24)
    np.testing.assert_allclose(RDM.from_rsatoolbox(root).dissimilarities, np.sqrt(squared / 24))
    np.testing.assert_allclose(out.dissimilarities[0], np.sqrt(squared), rtol=1e-5)
    assert compute_rdm(features).to_rsatoolbox().dissimilarity_measure == "correlation"


@pytest.mark.parametrize("shape", SHAPES)
def test_datasets_and_back(rsatoolbox: Any, shape: tuple[int, ...]) -> None:
    features = make(shape)
    dataset = features.to_rsatoolbox()
    assert isinstance(dataset, rsatoolbox.data.Dataset) and dataset.measurements.dtype == float
    assert (dataset.descriptors["model"], dataset.descriptors["module"]) == (
        "torchvision/alexnet", "conv",
    )  # fmt: skip
    assert_same(Features.from_rsatoolbox(dataset), features, exact_type=False)
    assert_same(Features.from_rsatoolbox(dataset.copy()), features, exact_type=False)
    dataset.save(file := BytesIO(), file_type="pkl")
    again = rsatoolbox.data.load_dataset(BytesIO(file.getvalue()), file_type="pkl")
    assert_same(Features.from_rsatoolbox(again), features, exact_type=False)


def test_datasets_that_rsatoolbox_changed(rsatoolbox: Any) -> None:
    features = make()
    dataset = features.to_rsatoolbox()
    channel = Features.from_rsatoolbox(dataset.subset_channel("channel", 1))
    assert channel.axes == ("stimulus", "feature") and channel.module == "conv"
    assert np.array_equal(channel.array, features.array[:, 1].reshape(5, -1).astype(float))
    dataset.sort_by("conds")
    found = Features.from_rsatoolbox(dataset)
    assert found.ids == tuple(sorted(IDS))
    assert_same(found.select(IDS), features, exact_type=False)
    target = Features.from_rsatoolbox(dataset.subset_obs("target", 0))
    assert target.ids == ("ant.png", "fox.png")


def test_foreign_datasets(rsatoolbox: Any) -> None:
    names = {"stim": ["a", "b"], "run": [0, 1]}
    dataset = rsatoolbox.data.Dataset(np.eye(2), {"model": "net"}, names)
    with pytest.raises(InvalidArgument, match=r"no obs_descriptor .* stim, run.*ids=name"):
        Features.from_rsatoolbox(dataset)
    with pytest.raises(InvalidArgument, match=r"no 'stims' among the obs_descriptors: stim, run"):
        Features.from_rsatoolbox(dataset, ids="stims")
    found = Features.from_rsatoolbox(dataset, ids="stim")
    assert found.ids == ("a", "b") and found.provenance == {"model": "net"}
    bare = rsatoolbox.data.Dataset(np.eye(2), obs_descriptors={"stimulus": [1, 2]})
    assert Features.from_rsatoolbox(bare).ids == ("1", "2")


def test_rdms_and_back(rsatoolbox: Any) -> None:
    rdm = compute_rdm(make(), "cosine")
    out = rdm.to_rsatoolbox()
    assert isinstance(out, rsatoolbox.rdm.RDMs) and out.pattern_descriptors["conds"] == list(IDS)
    assert out.rdm_descriptors["name"] == ["torchvision/alexnet conv"]
    np.testing.assert_array_equal(out.get_matrices()[0], rdm.square())
    out.save(file := BytesIO(), file_type="pkl")
    again = rsatoolbox.rdm.load_rdm(BytesIO(file.getvalue()), file_type="pkl")
    for found in (RDM.from_rsatoolbox(out), RDM.from_rsatoolbox(again)):
        assert np.array_equal(found.dissimilarities, rdm.dissimilarities)
        assert (found.ids, found.dissimilarity, found.provenance, found.name) == (
            rdm.ids, rdm.dissimilarity, rdm.provenance, rdm.name,
        )  # fmt: skip
    bare = RDM(np.array([1.0, 2, 3]))
    assert RDM.from_rsatoolbox(bare.to_rsatoolbox()).ids is None


def test_several_rdms(rsatoolbox: Any) -> None:
    ids = IDS[:3]
    both = [RDM(np.array([1.0, 2, 3 + i]), ids, "correlation", name=f"n{i}") for i in (0, 1)]
    rdms = rsatoolbox.rdm.concat([rdm.to_rsatoolbox() for rdm in both])
    computed = rsatoolbox.rdm.calc_rdm(make().select(ids).to_rsatoolbox(), "correlation")
    three = RDM.from_rsatoolbox(rsatoolbox.rdm.concat([rdms, computed]))
    assert [rdm.name for rdm in three] == ["n0", "n1", "torchvision/alexnet conv"]
    found = RDM.from_rsatoolbox(rdms)
    assert [rdm.name for rdm in found] == ["n0", "n1"]
    assert found[1].dissimilarities.tolist() == [1, 2, 4] and found[1].ids == ids
    assert RDM.from_rsatoolbox(rdms, 1).name == RDM.from_rsatoolbox(rdms, -1).name == "n1"
    with pytest.raises(InvalidArgument, match="no RDM 2 among 2 RDMs, from 0"):
        RDM.from_rsatoolbox(rdms, 2)
    named = rsatoolbox.rdm.RDMs(np.ones((1, 3)), pattern_descriptors={"face": ["x", "y", "z"]})
    assert RDM.from_rsatoolbox(named).ids is None
    assert RDM.from_rsatoolbox(named, ids="face").ids == ("x", "y", "z")
    with pytest.raises(InvalidArgument, match="no 'faces' among the pattern_descriptors: face"):
        RDM.from_rsatoolbox(named, ids="faces")
    repeated = rsatoolbox.rdm.RDMs(np.ones((1, 3)), pattern_descriptors={"conds": ["x", "x", "z"]})
    with pytest.raises(InvalidArgument, match="stand for several stimuli: x"):
        RDM.from_rsatoolbox(repeated)


# ---- pandas --------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_pandas_and_back(shape: tuple[int, ...], dtype: Any) -> None:
    features = make(shape, dtype=dtype)
    frame = features.to_pandas()
    assert frame.index.name == "id" and list(frame.columns[:2]) == ["target", "f0"]
    assert_same(Features.from_pandas(frame), features)
    assert_same(Features.from_pandas(frame.reset_index()), features)
    assert_same(Features.from_pandas(frame[frame.columns[::-1]]), features)
    chosen = frame.loc[[IDS[2], IDS[1]]]
    assert_same(Features.from_pandas(chosen), features.select([IDS[2], IDS[1]]))


def test_the_table_is_that_of_the_store(numbered: Any, tmp_path: Any) -> None:
    pytest.importorskip("pyarrow")
    made = extract_features(toy_network(), numbered(3), ["thin"], out=tmp_path / "f", format="csv")
    read = pd.read_csv(next((tmp_path / "f").glob("*.csv")), index_col="id", dtype={"id": str})
    pd.testing.assert_frame_equal(read, made["thin"].to_pandas(), check_dtype=False)
    features = make((6,))
    features.to_pandas().to_parquet(tmp_path / "f.parquet")
    assert_same(Features.from_pandas(pd.read_parquet(tmp_path / "f.parquet")), features)


def test_foreign_tables() -> None:
    frame = pd.DataFrame({"id": ["a", "b"], "size": [1.5, 2.5], "class": ["x", "y"]})
    features = Features.from_pandas(frame)
    assert features.ids == ("a", "b") and features.array.tolist() == [[1.5], [2.5]]
    assert features.axes == ("stimulus", "feature") and features.targets is None
    with pytest.raises(InvalidArgument, match=r"only numbered.*frame\.set_index\('file'\)"):
        Features.from_pandas(frame[["size"]])
    with pytest.raises(InvalidArgument, match="no numbers: colour, name"):
        Features.from_pandas(frame.assign(colour="red", name="n"))
    half = Features.from_pandas(make().to_pandas().drop(columns=["f3"]))
    assert half.shape == (5, 23) and half.axes == ("stimulus", "feature")


def test_rdms_as_tables() -> None:
    rdm = compute_rdm(make())
    frame = rdm.to_pandas()
    assert frame.loc["cup.png", "ant.png"] == rdm.square()[2, 1]
    back = RDM.from_matrix(frame, frame.index, rdm.dissimilarity)
    assert back.ids == rdm.ids and np.array_equal(back.dissimilarities, rdm.dissimilarities)
    assert RDM(np.ones(3)).to_pandas().columns.tolist() == [0, 1, 2]
