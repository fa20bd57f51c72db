"""The paper's functions, in PyTorch and Keras, against the core and against other libraries."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.io
from PIL import Image
from scipy.spatial.distance import pdist, squareform
from scipy.stats import spearmanr
from sklearn.decomposition import PCA

import thingsvision as tv
from thingsvision import vision
from thingsvision.errors import InvalidArgument, MismatchError, ModuleError, UnknownName
from thingsvision.model_class import Model

needs_keras = pytest.mark.skipif(find_spec("keras") is None, reason="Keras is not installed")
BACKENDS = [
    pytest.param("pt", "resnet18", "layer1", id="pt"),
    pytest.param("tf", "MobileNetV2", "Conv1_relu", id="tf", marks=needs_keras),
]
SOURCE = {"pt": "torchvision", "tf": "keras"}


def some_features(rows: int = 12, columns: int = 30) -> np.ndarray:
    return np.random.default_rng(0).random((rows, columns)).astype("float32")


@pytest.mark.parametrize(("backend", "name", "module"), BACKENDS)
def test_flat_folder_in_another_order(flat: Path, backend: str, name: str, module: str) -> None:
    names = [path.name for path in sorted(flat.iterdir(), reverse=True)][:4]
    model = Model(name, pretrained=False, device="cpu", model_path=None, backend=backend)
    loader = vision.load_dl(
        root="./flat/",
        out_path=f"./{name}/{module}/features",
        batch_size=3,
        transforms=model.get_transformations(),
        backend=backend,
        file_names=names,
    )
    features, targets = model.extract_features(
        data_loader=loader, module_name=module, flatten_acts=False, clip=False
    )
    network = tv.load_model(f"{SOURCE[backend]}/{name}", pretrained=False)
    stimuli = tv.load_stimuli(flat, file_names=names)
    core = tv.extract_features(network, stimuli, module, batch_size=3)
    np.testing.assert_array_equal(features, core[module].array)
    assert features.ndim == 4 and (backend == "tf") == (features.shape[1] == features.shape[2])
    assert targets.tolist() == [0, 1, 2, 3]
    assert Path(name, module, "features", "file_names.txt").read_text().split("\n")[:-1] == names
    # the user's own loop sees what the network sees
    batches = list(loader)
    assert [len(images) for images, _ in batches] == [3, 1] and len(loader) == 2
    again, own = model.extract_features(batches, module, flatten_acts=False)
    np.testing.assert_allclose(again, features, rtol=0, atol=1e-5 * np.abs(features).max())
    assert own.tolist() == [0, 1, 2, 3]


@needs_keras
def test_the_classes_of_keras_are_not_levelled(flat: Path) -> None:
    """Its networks end in a softmax, which is not taken twice."""
    model = Model("MobileNetV2", pretrained=False, device="cpu", backend="tf")
    loader = vision.load_dl(flat, "out", "tf", 5, transforms=model.get_transformations())
    _, _, probabilities = model.extract_features(loader, "Conv1", True, return_probabilities=True)
    images = np.concatenate([batch for batch, _ in loader])
    np.testing.assert_allclose(probabilities, model.model.predict(images, verbose=0), rtol=1e-4)


@pytest.mark.parametrize("format", ["npy", ".npy", "hdf5", "h5", "mat", "txt"])
def test_targets_and_features_of_every_format(tmp_path: Path, format: str) -> None:
    features, targets = some_features(), np.arange(12) % 3
    vision.save_features(features, tmp_path, format)
    vision.save_targets(targets, PATH=str(tmp_path / "targets"), file_format=format)
    np.testing.assert_array_equal(vision.merge_features(tmp_path, format).astype("f4"), features)
    if format == "mat":
        found = scipy.io.loadmat(tmp_path / "targets" / "targets.mat")["targets"]
        assert found.ravel().tolist() == targets.tolist()
    if format == "txt":
        assert np.loadtxt(tmp_path / "targets" / "targets.txt").tolist() == targets.tolist()


def test_maps_as_text_and_back(tmp_path: Path) -> None:
    maps = some_features(6, 24).reshape(6, 2, 3, 4)
    vision.save_features(maps, tmp_path, "txt")
    np.testing.assert_array_equal(vision.slices2tensor(tmp_path, "features.txt"), maps)
    vision.tensor2slices(tmp_path / "other", "maps.txt", maps)
    np.testing.assert_array_equal(vision.slices2tensor(tmp_path / "other", "maps.txt"), maps)


def test_split_and_merge(tmp_path: Path) -> None:
    features = some_features(33)
    vision.split_features(tmp_path, features, "hdf5", 10)
    assert len(list(tmp_path.glob("features_*.h5"))) == 10
    assert vision.merge_features(tmp_path, ".h5").tobytes() == features.tobytes()


def test_mistakes_with_arrays_and_folders(tmp_path: Path) -> None:
    maps = some_features().reshape(12, 2, 3, 5)
    unit = vision.normalize_features(maps)
    np.testing.assert_allclose(np.linalg.norm(unit.reshape(12, -1), axis=1), 1, rtol=1e-6)
    with pytest.raises(InvalidArgument, match="retained_var is 1.5"):
        vision.compress_features(some_features(), 0, 1.5)
    (tmp_path / "file").touch()
    with pytest.raises(InvalidArgument, match="is a file"):
        vision.save_features(maps, tmp_path / "file", "npy")


def test_centre_normalise_compress() -> None:
    features = some_features()
    centred = vision.center_features(features)
    np.testing.assert_allclose(centred.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(features - centred, np.tile(features.mean(0), (12, 1)), rtol=1e-6)
    unit = vision.normalize_features(features)
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(
        unit * np.linalg.norm(features, axis=1)[:, None], features, rtol=1e-5
    )
    compressed = vision.compress_features(features, rnd_seed=1, retained_var=0.8)
    expected = PCA(0.8, svd_solver="full").fit(features)
    assert compressed.shape == (12, expected.n_components_)
    np.testing.assert_allclose(compressed, expected.transform(features), atol=1e-5)


@pytest.mark.parametrize("method", ["correlation", "cosine", "euclidean", "gaussian"])
def test_rdms_are_those_of_scipy(method: str) -> None:
    features = some_features().astype("float64")
    if method == "gaussian":
        squares = squareform(pdist(features, "sqeuclidean"))
        expected = 1 - np.exp(-squares / squares.mean())
    else:
        expected = squareform(pdist(features, method))
    found = vision.compute_rdm(features, method)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)
    assert (found == found.T).all() and not found.diagonal().any()


def test_correlations_of_rdms() -> None:
    one, other = (vision.compute_rdm(some_features()[:, k::2]) for k in (0, 1))
    upper = np.triu_indices(12, 1)
    expected = np.corrcoef(one[upper], other[upper])[0, 1]
    assert vision.correlate_rdms(one, other) == pytest.approx(expected, rel=1e-6)
    expected = spearmanr(one[upper], other[upper]).statistic
    assert vision.correlate_rdms(one, other, "spearman") == pytest.approx(expected, rel=1e-6)
    with pytest.raises(MismatchError):
        vision.correlate_rdms(one, other[:5, :5])
    with pytest.raises(UnknownName):
        vision.correlate_rdms(one, other, "dance")


@pytest.mark.parametrize(("format", "kind"), [(".png", "PNG"), ("jpg", "JPEG")])
def test_the_figure(tmp_path: Path, format: str, kind: str) -> None:
    vision.plot_rdm(tmp_path / "new", some_features(), "correlation", format, "viridis", False)
    with Image.open(tmp_path / "new" / f"rdm.{format.lstrip('.')}") as figure:
        assert figure.format == kind and min(figure.size) > 400
        assert round(figure.info["dpi"][0]) == 200


def test_a_figure_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import matplotlib.pyplot as plt

    shown = []
    monkeypatch.setattr(plt, "show", lambda: shown.append(plt.gcf().canvas.figure.axes))
    vision.plot_rdm(tmp_path, some_features(), show_plot=True)
    assert [axes.get_label() for axes in shown[0]][:1] == ["matrix"]
    plt.close("all")


def test_names_of_modules() -> None:
    model = Model("alexnet", pretrained=False, device="cpu")
    assert vision.get_module_names(model, "classifier.") == [f"classifier.{k}" for k in range(7)]
    with pytest.raises(ModuleError, match="holds 'lstm'"):
        vision.get_module_names(model, "lstm")


def test_several_networks(images: Path, flat: Path) -> None:
    wanted = {"model_names": ["alexnet", "squeezenet1_1"], "module_names": ["features.10"] * 2}
    same = {"pretrained": False, "batch_size": 8, "backend": "pt", "flatten_acts": True}
    clip = {"clip": [False, False]}
    vision.extract_features_across_models_and_datasets(
        "all", img_paths=["images", "flat"], f_format="npy", **wanted, **same, **clip
    )
    for folder in ("images", "flat"):
        for name in wanted["model_names"]:
            network = tv.load_model(f"torchvision/{name}", pretrained=False)
            core = tv.extract_features(network, folder, "features.10", flatten=True, batch_size=8)
            place = Path("all", folder, name, "features.10", "features")
            np.testing.assert_array_equal(np.load(place / "features.npy"), core.only.array)
            assert (place / "file_names.txt").read_text().split("\n")[:-1] == list(core.only.ids)
            assert (place / "targets.npy").exists() == (folder == "images")
    found = vision.get_features("flat", "out", **wanted, **same, **clip)
    assert {name: list(modules) for name, modules in found.items()} == {
        "alexnet": ["features.10"], "squeezenet1_1": ["features.10"],
    }  # fmt: skip
    np.testing.assert_array_equal(
        found["alexnet"]["features.10"],
        np.load("all/flat/alexnet/features.10/features/features.npy"),
    )
    table = vision.compare_models("flat", "compared", **wanted, **same, **clip)
    assert isinstance(table, pd.DataFrame)
    assert list(table.index) == list(table.columns) == wanted["model_names"]
    rdms = [vision.compute_rdm(found[name]["features.10"]) for name in wanted["model_names"]]
    assert table.iloc[0, 1] == pytest.approx(vision.correlate_rdms(*rdms), rel=1e-5)
    assert table.to_numpy().diagonal() == pytest.approx(1)
    saved = Path("compared/alexnet/features.10/features/features.txt")
    np.testing.assert_array_equal(np.loadtxt(saved).astype("f4"), found["alexnet"]["features.10"])


def test_every_module_that_matches(flat: Path) -> None:
    vision.extract_features_across_models_datasets_and_modules(
        "all", ["alexnet"], ["flat"], ["classifier.1", "classifier.4"], [False], False, 8, "pt",
        True, "hdf5",
    )  # fmt: skip
    found = sorted(path.name for path in Path("all/flat/alexnet").iterdir())
    assert found == ["classifier.1", "classifier.4"]
    assert vision.merge_features(
        "all/flat/alexnet/classifier.4/features", "hdf5"
    ).shape == (5, 4096)  # fmt: skip


def test_mistakes_of_several_networks(flat: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    flat.rename(tmp_path / "other" / "flat")
    (tmp_path / "flat").symlink_to(tmp_path / "other" / "flat")
    same = {"pretrained": False, "batch_size": 8, "backend": "pt", "flatten_acts": True}
    with pytest.raises(InvalidArgument, match="same name"):
        vision.extract_features_across_models_and_datasets(
            "all", ["alexnet"], ["flat", "other/flat"], ["features.10"], **same
        )
    with pytest.raises(InvalidArgument, match=r"2 model names and 1 module name"):
        vision.compare_models("flat", "out", ["alexnet", "vgg11"], ["features.10"], **same)
    with pytest.raises(InvalidArgument, match="give several"):
        vision.compare_models("flat", "out", ["alexnet"], ["features.10"], **same)


def test_two_modules_of_one_network_are_told_apart(flat: Path) -> None:
    table = vision.compare_models(
        "flat", "out", ["alexnet"] * 2, ["features.10", "classifier.4"], pretrained=False,
        batch_size=8, flatten_acts=True, save_features=False,
    )  # fmt: skip
    assert list(table.index) == ["alexnet features.10", "alexnet classifier.4"]
    assert not Path("out/alexnet").exists()


def test_networks_beside_people(flat: Path) -> None:
    names = {"model_names": ["alexnet", "squeezenet1_1"], "module_names": ["features.10"] * 2}
    human = vision.compute_rdm(np.random.default_rng(3).random((5, 20)))
    table = vision.compare_models_to_humans(
        root="flat", out_path="out", **names, clip=[False, False], pretrained=False, batch_size=8,
        flatten_acts=True, human_rdm=human, save_features=False, n_bootstraps=50,
        dissimilarity="correlation", correlation="pearson",
    )  # fmt: skip
    assert table["model"].tolist() == names["model_names"]
    found = vision.get_features("flat", "out", **names, pretrained=False, batch_size=8)
    for row, name in enumerate(names["model_names"]):
        rdm = vision.compute_rdm(found[name]["features.10"])
        assert table["estimate"][row] == pytest.approx(vision.correlate_rdms(rdm, human), rel=1e-5)
        assert table["ci_low"][row] < table["estimate"][row] < table["ci_high"][row]
    several = np.stack([human, human**2, human**0.5])
    table = vision.compare_models_to_humans(
        "flat", "out", ["alexnet"], ["features.10"], pretrained=False, human_rdm=several,
        save_features=False, n_bootstraps=20,
    )  # fmt: skip
    assert table["n_subjects"].tolist() == [3]
    with pytest.raises((InvalidArgument, MismatchError)):
        vision.compare_models_to_humans(
            "flat", "out", ["alexnet"], ["features.10"], pretrained=False, save_features=False
        )


CLASS_FILES = {
    "plain": "cat\ndog, hound\n\nzebra\n",
    "synsets": "n02121808 cat\nn02084071 dog, hound\nn02391049 zebra\n",
    "dictionary": "{0: 'cat',\n 1: \"dog, hound\",\n 2: 'zebra'}\n",
}


@pytest.mark.parametrize("kind", CLASS_FILES)
def test_the_most_probable_classes(tmp_path: Path, kind: str) -> None:
    (tmp_path / "file_names.txt").write_text("a.jpg\nb.jpg\n", encoding="utf-8")
    (tmp_path / "classes.txt").write_text(CLASS_FILES[kind], encoding="utf-8")
    found = vision.get_class_probabilities(
        probas=np.array([[0.1, 0.7, 0.2], [0.5, 0.1, 0.4]]),
        out_path=tmp_path,
        cls_file=tmp_path / "classes.txt",
        top_k=2,
        save_as_json=True,
    )
    names = {"synsets": ["n02121808 cat", "n02084071 dog, hound", "n02391049 zebra"]}.get(
        kind, ["cat", "dog, hound", "zebra"]
    )
    cat, dog, zebra = names
    assert found == {"a.jpg": {dog: 0.7, zebra: 0.2}, "b.jpg": {cat: 0.5, zebra: 0.4}}
    assert list(found["a.jpg"]) == [dog, zebra]
    assert json.loads((tmp_path / "class_probabilities.json").read_text()) == found
    with pytest.raises(InvalidArgument, match="2 id names|3 id names|1 × 3|3 × 3"):
        vision.get_class_probabilities(
            np.ones((3, 3)), tmp_path, tmp_path / "classes.txt", 2, False
        )
    with pytest.raises(InvalidArgument, match="9 classes were asked for"):
        vision.get_class_probabilities(
            np.ones((2, 3)), tmp_path, tmp_path / "classes.txt", 9, False
        )
    with pytest.raises(InvalidArgument, match="no file of classes"):
        vision.get_class_probabilities(np.ones((2, 3)), tmp_path, "nowhere.txt", 1, False)


def test_the_first_release(flat: Path) -> None:
    """Before there was a class Model."""
    model, transforms = vision.load_model(
        "cornet-z", pretrained=False, model_path=None, device="cpu"
    )
    dl = vision.load_dl(root="flat", out_path="out", batch_size=64, transforms=transforms)
    features, targets = vision.extract_features(
        model, dl, "decoder.flatten", batch_size=64, flatten_acts=False, device="cpu",
        return_probabilities=False,
    )  # fmt: skip
    assert features.shape == (5, 512) and targets.tolist() == list(range(5))


@pytest.mark.parametrize(
    ("paper", "now"),
    [("cornet-rt", "cornet/cornet_rt"), ("clip-RN", "openclip/clip-RN"),
     ("vgg16_bn_ecoset", "checkpoints/vgg16_bn_ecoset"),
     ("VGG16_ecoset", "checkpoints/vgg16_ecoset")],
)  # fmt: skip
def test_names_of_the_paper(paper: str, now: str) -> None:
    from thingsvision.zoo.former_names import current_name

    assert current_name(paper, "pt") == now
    assert now in tv.list_models(now) or now.endswith(("clip-RN", "clip-ViT"))
