"""The calls that version 2's README and documentation show run as printed, and equal the core."""

from __future__ import annotations

import re
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
import torchvision

import thingsvision as tv
from thingsvision import get_extractor, get_extractor_from_model
from thingsvision.core.cka import CKA, get_cka
from thingsvision.core.rsa import compute_rdm, correlate_rdms
from thingsvision.errors import InvalidArgument, UnknownName
from thingsvision.utils.data import DataLoader, HDF5Dataset, ImageDataset
from thingsvision.utils.storing import merge_features, save_features
from thingsvision.zoo.former_names import NAMES, current_name

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "version2.md"


def blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def extractor_of(name: str = "alexnet", **options: object) -> object:
    return get_extractor(name, source="torchvision", device="cpu", pretrained=False, **options)


def test_the_main_example_runs_as_printed(images: Path) -> None:
    code = blocks()[0]
    assert "get_extractor" in code and "save_features(" in code
    code = code.replace("pretrained=True", "pretrained=False").replace("ViT-L/14", "RN50")
    code = code.replace("path/to/your/image/directory", "images").replace("path/to/features", "out")
    names: dict[str, object] = {}
    exec(compile(code, "example", "exec"), names)
    network = tv.load_model("openclip/RN50", pretrained=False)
    core = tv.extract_features(
        network.preprocessed(resize=256, crop=224), images, "visual", flatten=True, batch_size=32
    )
    np.testing.assert_array_equal(names["features"], core.only.array)
    np.testing.assert_array_equal(np.load("out/features.npy"), core.only.array)
    assert tuple(Path("out/file_names.txt").read_text().splitlines()) == core.only.ids


def test_a_loop_over_the_users_own_loader(flat: Path) -> None:
    extractor = extractor_of()
    dataset = ImageDataset("flat", "out", extractor.get_backend(), extractor.get_transformations())
    loader = torch.utils.data.DataLoader(dataset, batch_size=2)
    core = tv.extract_features(
        extractor.network, flat, ["features.10", "classifier.1"], flatten=True, batch_size=2
    )
    rows = []
    with extractor.batch_extraction("features.10", output_type="tensor") as e:
        for batch in loader:
            found = e.extract_batch(batch=batch, flatten_acts=True)
            assert isinstance(found, torch.Tensor)
            rows.append(found)
    np.testing.assert_allclose(torch.cat(rows).numpy(), core["features.10"].array, atol=1e-5)
    names = ["features.10", "classifier.1"]
    with extractor.batch_extraction(module_names=names, output_type="tensor") as e:
        several = [e.extract_batch(batch=batch, flatten_acts=True) for batch in loader]
    assert [list(found) for found in several] == [names] * 3
    joined = torch.cat([found["classifier.1"] for found in several]).numpy()
    np.testing.assert_allclose(joined, core["classifier.1"].array, atol=1e-5)
    batch = next(iter(loader))
    one = extractor.extract_batch(batch=batch, module_name="features.10", flatten_acts=True)
    np.testing.assert_array_equal(one, rows[0].numpy())


def test_several_modules_and_a_folder(flat: Path) -> None:
    extractor = extractor_of()
    dataset = ImageDataset(
        root="flat", out_path="out", backend="pt", transforms=extractor.get_transformations()
    )
    batches = DataLoader(dataset=dataset, batch_size=2, backend="pt")
    assert len(dataset) == 5 and len(batches) == 3
    assert tuple(dataset[4].shape) == (3, 224, 224)
    assert [len(batch) for batch in batches] == [2, 2, 1]
    found = extractor.extract_features(
        batches=batches, module_names=["features.10", "classifier.6"], flatten_acts=False,
        output_dir="written", step_size=2,
    )  # fmt: skip
    assert {name: array.shape for name, array in found.items()} == {
        "features.10": (5, 256, 13, 13), "classifier.6": (5, 1000),
    }  # fmt: skip
    np.testing.assert_array_equal(np.load("written/features.10/features.npy"), found["features.10"])


def test_modules_and_parts_do_not_overwrite_each_other(flat: Path) -> None:
    extractor = extractor_of()
    dataset = ImageDataset("flat", "out", "pt", extractor.get_transformations())
    batches = DataLoader(dataset, 5)
    options = {"output_dir": "written", "flatten_acts": True}
    first = extractor.extract_features(batches, "classifier.1", **options)
    extractor.extract_features(batches, "classifier.6", file_name_suffix="_val", **options)
    second = extractor.extract_features(batches, "classifier.6", output_type="tensor", **options)
    files = sorted(str(path) for path in Path("written").rglob("*.*") if path.is_file())
    assert files == [
        "written/classifier.1/features.npy",
        "written/classifier.6/features.pt",
        "written/classifier.6/features_val.npy",
    ]
    np.testing.assert_array_equal(np.load(files[0]), first)
    assert torch.equal(torch.load(files[1], weights_only=True), second)
    with pytest.raises(TypeError, match="flaten_acts"):
        extractor.extract_features(batches, "classifier.6", flaten_acts=True)


def test_classes_come_in_the_order_that_is_asked_for(images: Path) -> None:
    transforms = extractor_of().get_transformations()
    ImageDataset("images", "out", "pt", transforms, class_names=["plant", "animal"])
    names = Path("out/file_names.txt").read_text().splitlines()
    plants, animals = (
        sorted(path.relative_to(images).as_posix() for path in (images / folder).iterdir())
        for folder in ("plant", "animal")
    )
    assert plants and names == plants + animals


def test_only_some_classes(images: Path) -> None:
    transforms = extractor_of().get_transformations()
    dataset = ImageDataset("images", "out", "pt", transforms, class_names=["food"])
    names = Path("out/file_names.txt").read_text().splitlines()
    assert len(dataset) == len(names) and all(name.startswith("food/") for name in names)
    with pytest.raises(UnknownName, match="class 'foot'.*food"):
        ImageDataset("images", "out", "pt", transforms, class_names=["foot"])


def test_images_in_hdf5(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    bricks = np.random.default_rng(0).integers(0, 255, (6, 40, 40, 3), np.uint8)
    with h5py.File("stimuli.hdf5", "w") as file:
        file["imgBrick"] = bricks
    extractor = extractor_of()
    dataset = HDF5Dataset(
        hdf5_fp="stimuli.hdf5", img_ds_key="imgBrick", out_path="out",
        backend=extractor.get_backend(), transforms=extractor.get_transformations(),
        img_indices=[4, 1],
    )  # fmt: skip
    found = extractor.extract_features(DataLoader(dataset, 2), "features.10")
    core = tv.extract_features(extractor.network, bricks[[4, 1]], "features.10", batch_size=2)
    np.testing.assert_array_equal(found, core.only.array)
    HDF5Dataset("stimuli.hdf5", "imgBrick", "pt", extractor.get_transformations())
    assert not Path("file_names.txt").exists()


class Complex(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Conv2d(3, 4, 3)
        self.second = torch.nn.Conv2d(4, 2, 3)

    def forward(self, x, y):
        return self.second(self.first(x)) if y is None else y


def test_a_model_with_another_forward(flat: Path) -> None:
    def custom_forward_fn(self, batch):
        return self.model(batch, y=None)

    torch.manual_seed(0)
    model = Complex()
    transforms = torchvision.models.AlexNet_Weights.DEFAULT.transforms()
    extractor = get_extractor_from_model(
        model=model, device="cpu", transforms=transforms, backend="pt",
        forward_fn=custom_forward_fn,
    )  # fmt: skip
    assert extractor.get_transformations() is transforms
    dataset = ImageDataset("flat", "out", extractor.get_backend(), extractor.get_transformations())
    found = extractor.extract_features(DataLoader(dataset, 3), "second")
    stimuli = tv.load_stimuli(flat)
    images = torch.stack([transforms(stimuli.image(row)) for row in range(5)])
    with torch.no_grad():
        expected = model.second(model.first(images)).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert not model.second._forward_hooks


def test_rdms_and_files_from_their_former_places(tmp_path: Path) -> None:
    features = np.random.default_rng(0).random((9, 5))
    rdm = compute_rdm(features, method="correlation")
    np.testing.assert_allclose(rdm, 1 - np.corrcoef(features), atol=1e-12)
    assert correlate_rdms(rdm, rdm**2, correlation="spearman") == pytest.approx(1)
    save_features(torch.from_numpy(features), out_path=tmp_path, file_format="pt")
    assert torch.load(tmp_path / "features.pt", weights_only=True).shape == (9, 5)
    np.testing.assert_array_equal(merge_features(tmp_path, "pt"), features)


def test_cka() -> None:
    random = np.random.default_rng(0)
    x, y = random.random((40, 6)), random.random((40, 9))
    cka = get_cka(backend="numpy", m=40, kernel="linear", unbiased=False)

    def hsic(a: np.ndarray, b: np.ndarray) -> float:
        centre = np.eye(40) - 1 / 40
        return float(np.trace(a @ a.T @ centre @ b @ b.T @ centre))

    expected = hsic(x, y) / np.sqrt(hsic(x, x) * hsic(y, y))
    assert cka.compare(X=x, Y=y) == pytest.approx(expected)
    assert cka.compare(X=torch.from_numpy(x), Y=torch.from_numpy(y)) == pytest.approx(expected)
    assert CKA(m=40, kernel="linear", unbiased=True).compare(x, 3 * x) == pytest.approx(1)
    assert 0 < get_cka("torch", 40, "rbf", device="cpu").compare(x, y) < 1
    with pytest.raises(InvalidArgument, match="m is 41"):
        CKA(41).compare(x, y)


def test_tokens(flat: Path) -> None:
    with pytest.raises(UnknownName, match="token_extraction 'cl_token'"):
        get_extractor("vit_b_16", "torchvision", "cpu", False,
                      model_parameters={"token_extraction": "cl_token"})  # fmt: skip
    extractor = get_extractor(
        "vit_tiny_patch16_224", "timm", "cpu", False,
        model_parameters={"extract_cls_token": True},
    )  # fmt: skip
    dataset = ImageDataset("flat", "out", "pt", extractor.get_transformations())
    found = extractor.extract_features(DataLoader(dataset, 5), "blocks.1")
    core = tv.extract_features(extractor.network, flat, "blocks.1")
    np.testing.assert_allclose(found, core.only.array[:, 0], atol=1e-5)


@pytest.mark.parametrize("former", NAMES)
def test_former_names_lead_to_models_that_exist(former: str) -> None:
    now = current_name(former.replace("_", "-"), "custom")
    assert tv.list_models(now) == [now] or now in ("openclip/clip-RN", "openclip/clip-ViT")


@pytest.mark.parametrize(
    ("former", "now"),
    [
        (("alexnet", "torchvision", {"weights": "IMAGENET1K_V1"}),
         "torchvision/alexnet.IMAGENET1K_V1"),
        (("VGG16", "keras", None), "keras/VGG16"),
        (("simclr-rn50", "ssl", None), "checkpoints/resnet50_simclr"),
        (("OpenCLIP", "custom", {"variant": "ViT-B/32", "dataset": "laion400m_e32"}),
         "openclip/ViT-B-32.laion400m_e32"),
        (("clip", "custom", {}), "openclip/ViT-B-32.openai"),
        (("timm/resnet50", "custom", None), "timm/resnet50"),
    ],
)  # fmt: skip
def test_names_with_parameters(former: tuple, now: str) -> None:
    assert current_name(*former) == now


def test_mistakes() -> None:
    with pytest.raises(UnknownName, match="source 'hub'"):
        get_extractor("alexnet", "hub", "cpu", False)
    with pytest.raises(InvalidArgument, match="model_parameters has colour"):
        get_extractor("alexnet", "torchvision", "cpu", False, model_parameters={"colour": 1})
    extractor = extractor_of()
    with pytest.raises(InvalidArgument, match="module_name="):
        extractor.extract_features([], flatten_acts=True)
    with pytest.raises(InvalidArgument, match="module_name="):
        extractor.extract_batch(np.ones((1, 3, 64, 64)), "a", ["b"])
    with pytest.raises(UnknownName, match="output_type 'numpy'"):
        extractor.extract_batch(
            np.ones((1, 3, 64, 64), "f4"), "features.10", output_type="numpy"
        )  # fmt: skip
    with pytest.raises(InvalidArgument, match="gave no batch"):
        extractor.extract_features([], "features.10")
    with pytest.raises(InvalidArgument, match="gLocal"):
        extractor.align(features=np.eye(2), module_name="visual")
    with pytest.raises(InvalidArgument, match="list"):
        DataLoader([1, 2], 2, "pt")


def test_what_is_printed(capsys: pytest.CaptureFixture) -> None:
    text = extractor_of().show_model()
    assert "(10): Conv2d(256, 256" in text and text in capsys.readouterr().out
