"""Preprocessing against the transforms that torchvision and timm publish with their weights."""

import re
from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import models

from thingsvision.errors import InvalidArgument, UnknownName
from thingsvision.preprocessing import Preprocessing, preprocess
from thingsvision.zoo import describe_model

# (height, width): portrait, landscape, odd, square, as large as a resize or crop, smaller, narrow
SIZES = [
    (500, 375), (375, 500), (301, 433), (256, 256), (224, 224), (232, 400),
    (100, 80), (37, 41), (257, 800), (3, 300),
]  # fmt: skip
ENTRIES = [entry for name in models.list_models() for entry in models.get_model_weights(name)]
KIND = {entry: type(entry.transforms()).__name__ for entry in ENTRIES}


def entries_of(kind):
    return [entry for entry in ENTRIES if KIND[entry] == kind]


def presets_of(kind):
    """One entry for each distinct set of preset parameters."""
    distinct = defaultdict(list)
    for entry in entries_of(kind):
        distinct[tuple(sorted(map(repr, vars(entry.transforms()).items())))].append(entry)
    return [entries[0] for entries in distinct.values()]


def model_of(entry):
    return next(name for name in models.list_models() if entry in models.get_model_weights(name))


def record_of(entry):
    """What the source says of weights."""
    card = describe_model(f"torchvision/{model_of(entry)}.{entry.name}")
    assert card.preprocessing is not None
    return card.preprocessing


def picture(height, width, seed=0):
    """Noise on a gradient: every grey level, sharp and smooth."""
    generator = np.random.default_rng(seed)
    ramp = np.linspace(0, 255, height * width * 3).reshape(height, width, 3)
    noise = generator.integers(-60, 60, (height, width, 3))
    return Image.fromarray(np.clip(ramp + noise, 0, 255).astype(np.uint8))


def channels_last(tensor):
    return tensor.permute(1, 2, 0).numpy()


def label(entry):
    return f"{type(entry).__name__}.{entry.name}"


def test_registry_has_the_presets_that_this_file_knows():
    assert set(KIND.values()) == {
        "ImageClassification", "SemanticSegmentation", "VideoClassification", "ObjectDetection",
        "OpticalFlow",
    }  # fmt: skip
    assert len(entries_of("ImageClassification")) >= 129
    assert 20 <= len(presets_of("ImageClassification")) < 40


@pytest.mark.parametrize("entry", presets_of("ImageClassification"), ids=label)
@pytest.mark.parametrize("size", SIZES, ids=lambda size: "×".join(map(str, size)))
def test_classification_is_bit_identical(entry, size):
    image = picture(*size)
    theirs = channels_last(entry.transforms()(image))
    ours = preprocess(record_of(entry), image)
    assert ours.dtype == theirs.dtype == np.float32
    assert np.array_equal(ours, theirs)
    assert record_of(entry).shape(*size) == ours.shape[:2]


@pytest.mark.parametrize("entry", entries_of("ImageClassification"), ids=label)
def test_every_classification_entry_has_the_record_of_its_preset(entry):
    # The records of equal presets were compared with torchvision above.
    preset, record = entry.transforms(), record_of(entry)
    assert [record.resize] == preset.resize_size
    assert [record.crop] == preset.crop_size
    assert (list(record.mean), list(record.std)) == (preset.mean, preset.std)
    assert record.interpolation == preset.interpolation.value
    assert record.antialias is preset.antialias is True
    assert (record.divisor, record.channel_order) == (255, "RGB")
    assert entry.name in record.origin
    assert any(vars(entry.transforms()) == vars(one.transforms())
               for one in presets_of("ImageClassification"))  # fmt: skip


@pytest.mark.parametrize("entry", entries_of("SemanticSegmentation"), ids=label)
@pytest.mark.parametrize("size", [(375, 500), (301, 433), (600, 599)], ids=str)
def test_segmentation_is_bit_identical(entry, size):
    image = picture(*size)
    assert np.array_equal(
        preprocess(record_of(entry), image), channels_last(entry.transforms()(image))
    )


@pytest.mark.parametrize("entry", presets_of("ObjectDetection"), ids=label)
def test_detection_is_bit_identical(entry):
    image = picture(61, 83)
    assert np.array_equal(
        preprocess(record_of(entry), image), channels_last(entry.transforms()(image))
    )


@pytest.fixture
def two_threads():
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(threads)


def static_clip(entry, image):
    """The first frame of what a video preset makes of a picture that is shown four times."""
    frames = torch.from_numpy(np.array(image)).permute(2, 0, 1).expand(4, -1, -1, -1)
    return entry.transforms()(frames.contiguous())[:, 0].permute(1, 2, 0).numpy()


@pytest.mark.parametrize("entry", presets_of("VideoClassification"), ids=label)
@pytest.mark.parametrize("size", SIZES, ids=lambda size: "×".join(map(str, size)))
def test_video_is_bit_identical(entry, size, two_threads):
    image = picture(*size)
    ours = preprocess(record_of(entry), image)
    # torch adds in another order when the system denies it one of its threads, now and then.
    theirs = next(
        (clip for _ in range(5) if np.array_equal(clip := static_clip(entry, image), ours)),
        static_clip(entry, image),
    )
    fuses = "FMA" in torch.__config__.show() or torch.backends.cpu.get_cpu_capability() != "DEFAULT"
    if fuses and torch.__version__ < "2.15":
        assert np.array_equal(ours, theirs)
    else:  # without fused multiply-add, and here and there from 2.15 on, torch rounds otherwise
        level = 1 / 255 / min(entry.transforms().std)
        assert np.abs(ours - theirs).max() <= 1.001 * level
        assert np.mean(ours != theirs) < 1e-3


@pytest.mark.parametrize("entry", presets_of("VideoClassification"), ids=label)
def test_video_with_one_thread_differs_by_one_level_at_most(entry):
    # torch itself adds in another order there.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for size in SIZES:
            image = picture(*size)
            difference = np.abs(preprocess(record_of(entry), image) - static_clip(entry, image))
            assert difference.max() <= 1.001 / 255 / min(entry.transforms().std)
            assert np.mean(difference > 0) < 1e-3
    finally:
        torch.set_num_threads(threads)


WRONG = {
    "interpolation": {"interpolation": "bicubic"},
    "nearest": {"interpolation": "nearest"},
    "no antialiasing": {"antialias": False},
    "resize": {"resize": 255},
    "resize to a square": {"resize": (256, 256)},
    "crop": {"crop": 223},
    "std of one channel": {"std": (0.229, 0.224, 0.2251)},
    "mean of one channel": {"mean": (0.485, 0.4561, 0.406)},
    "BGR": {"channel_order": "BGR"},
    "range": {"divisor": 256.0},
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_negative_control(wrong):
    entry = models.AlexNet_Weights.DEFAULT
    image = picture(375, 500)
    theirs = channels_last(entry.transforms()(image))
    assert np.array_equal(preprocess(record_of(entry), image), theirs)
    assert not np.array_equal(preprocess(replace(record_of(entry), **wrong), image), theirs)


def test_negative_control_crop_off_by_one():
    entry = models.AlexNet_Weights.DEFAULT
    image = picture(375, 500)
    resized = np.asarray(image.resize((341, 256), Image.Resampling.BILINEAR))
    theirs = channels_last(entry.transforms()(image))
    bare = preprocess(replace(record_of(entry), resize=None, crop=None), Image.fromarray(resized))
    # round(58.5) is 58: the margins of an odd remainder are not alike.
    assert np.array_equal(bare[16:240, 58:282], theirs)
    assert not np.array_equal(bare[16:240, 59:283], theirs)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_timm_is_bit_identical(size):
    timm = pytest.importorskip("timm")
    config = timm.get_pretrained_cfg("tf_efficientnet_lite0").to_dict()
    theirs = timm.data.create_transform(
        **timm.data.resolve_data_config({}, pretrained_cfg=config), is_training=False
    )
    record = describe_model("checkpoints/efficientnet_lite0").preprocessing
    image = picture(*size)
    assert np.array_equal(preprocess(record, image), channels_last(theirs(image)))


def test_bgr_and_range_by_hand():
    image = Image.fromarray(np.array([[[10, 20, 30], [40, 50, 60]]], np.uint8))
    record = Preprocessing(
        divisor=1, mean=(103.939, 116.779, 123.68), channel_order="BGR", std=(1, 2, 4)
    )
    expected = (np.float32([[[30, 20, 10], [60, 50, 40]]]) - np.float32(record.mean)) / [1, 2, 4]
    np.testing.assert_array_equal(preprocess(record, image), expected.astype(np.float32))


def test_fit_within_is_centred_on_the_colour():
    # The longer side, 6, becomes 4, and so the other 2.
    record = Preprocessing(resize=(4, 4), fit="contain", crop=4, fill=(10, 20, 30), divisor=1)
    result = preprocess(record, Image.new("RGB", (6, 3), (200, 100, 50)))
    assert (result[1:3] == [200, 100, 50]).all()
    assert (result[[0, 3]] == [10, 20, 30]).all()
    assert not record.pads(3, 6)  # the padding is meant
    assert replace(record, fit="stretch", resize=2).pads(3, 3)


@pytest.mark.parametrize(("fit", "expected"), [("cover", (40, 80)), ("contain", (30, 60))])
def test_fit_keeps_the_aspect_ratio(fit, expected):
    record = Preprocessing(resize=(40, 60), fit=fit)
    assert record.shape(100, 200) == expected
    assert preprocess(record, picture(100, 200)).shape == (*expected, 3)
    assert f"({record.interpolation}, {fit})" in str(record)


@pytest.mark.parametrize("size", [*SIZES, (1, 900), (900, 1)], ids=str)
@pytest.mark.parametrize("target", [(224, 224), (96, 64), (70, 181)], ids=str)
def test_fit_is_bit_identical_to_timm(size, target):
    transforms = pytest.importorskip("timm.data.transforms")
    image, colour = picture(*size), (124, 116, 104)
    within = Preprocessing(resize=target, fit="contain", crop=target, fill=colour, divisor=1)
    over = Preprocessing(resize=target, fit="cover", crop=target, divisor=1)
    if min(size) > 1:  # timm has no row left of those
        theirs = transforms.ResizeKeepRatio(target, longest=1.0, interpolation="bilinear")(image)
        theirs = transforms.CenterCropOrPad(target, fill=list(colour))(theirs)
        assert np.array_equal(preprocess(within, image), np.asarray(theirs))
    theirs = transforms.ResizeKeepRatio(target, interpolation="bilinear")(image)
    theirs = transforms.CenterCropOrPad(target, fill=0)(theirs)
    assert np.array_equal(preprocess(over, image), np.asarray(theirs))
    assert preprocess(within, image).shape == (*target, 3)


def test_one_number_of_the_users_ends_a_fit():
    record = Preprocessing(resize=(64, 64), fit="contain", crop=64, origin="the weights")
    changed = record.override(resize=70)
    assert (changed.resize, changed.fit) == (70, "stretch")
    assert "resize=70, fit=stretch" in changed.origin
    assert record.override(resize=(70, 80)).fit == "contain"


def test_crop_of_a_smaller_picture_is_padded_with_black():
    white = Image.new("RGB", (3, 2), "white")
    result = preprocess(Preprocessing(crop=(5, 4)), white)
    assert result.shape == (5, 4, 3)
    # torchvision puts the odd row below and the odd column right.
    expected = np.zeros((5, 4))
    expected[1:3, 0:3] = 1
    np.testing.assert_array_equal(result[..., 0], expected)


@pytest.mark.parametrize(
    ("record", "size", "expected"),
    [
        (Preprocessing(), (10, 20), (10, 20)),
        (Preprocessing(resize=5), (10, 21), (5, 10)),
        (Preprocessing(resize=5), (21, 10), (10, 5)),
        (Preprocessing(resize=(3, 4)), (10, 20), (3, 4)),
        (Preprocessing(resize=5, crop=(2, 3)), (10, 20), (2, 3)),
    ],
)
def test_shape_tells_what_preprocess_gives(record, size, expected):
    assert record.shape(*size) == expected
    assert preprocess(record, picture(*size)).shape == (*expected, 3)


def test_sizes_of_numpy_and_lists_become_plain():
    record = Preprocessing(resize=np.int64(256), crop=[224, 200])
    assert (record.resize, record.crop) == (256, (224, 200))
    assert type(record.resize) is int
    assert hash(record)


@pytest.mark.parametrize(
    ("values", "error", "text"),
    [
        ({"interpolation": "bicubik"}, UnknownName, "Nearest: bicubic"),
        ({"channel_order": "RGBA"}, UnknownName, "RGB"),
        ({"interpolation": "bicubic", "antialias": False}, InvalidArgument, "bilinear"),
        ({"resize": 0}, InvalidArgument, "resize is 0"),
        ({"resize": True}, InvalidArgument, "resize is True"),
        ({"resize": 256.0}, InvalidArgument, "resize is 256.0"),
        ({"resize": "256"}, InvalidArgument, "resize is '256'"),
        ({"crop": (224, -1)}, InvalidArgument, "crop is"),
        ({"crop": (1, 2, 3)}, InvalidArgument, "crop is"),
        ({"mean": (0.5,)}, InvalidArgument, "three channels"),
        ({"mean": 0.5}, InvalidArgument, "three channels"),
        ({"std": (1, 1, float("nan"))}, InvalidArgument, "three channels"),
        ({"std": (1, 0, 1)}, InvalidArgument, "divided by"),
        ({"fit": "contains", "resize": (8, 8)}, UnknownName, "Nearest: contain"),
        ({"fit": "cover", "resize": 8}, InvalidArgument, "needs resize=(height, width)"),
        ({"fit": "contain"}, InvalidArgument, "resize is None"),
        ({"fill": (0, 0, 256)}, InvalidArgument, "from 0 to 255"),
        ({"fill": (0.5, 0, 0)}, InvalidArgument, "from 0 to 255"),
        ({"fill": 0}, InvalidArgument, "fill is 0"),
        ({"divisor": 0}, InvalidArgument, "divisor is 0"),
    ],
)
def test_values_that_are_not_allowed(values, error, text):
    with pytest.raises(error, match=re.escape(text)):
        Preprocessing(**values)


def test_a_picture_that_is_not_rgb_is_refused():
    with pytest.raises(InvalidArgument, match="mode 'L'"):
        preprocess(Preprocessing(), Image.new("L", (4, 4)))


def test_override_is_recorded():
    record = Preprocessing(resize=256, crop=224, origin="the weights")
    changed = record.override(resize=224, crop=None).override(std=(2, 2, 2))
    assert changed.shape(100, 100) == (224, 224)
    assert "resize=224, crop=None" in changed.origin
    assert changed.origin.startswith("the weights, overridden")
    assert record.resize == 256
    with pytest.raises(InvalidArgument):
        record.override(resize=-1)


def test_text_and_dictionary_tell_everything():
    record = Preprocessing(resize=256, crop=224, interpolation="bicubic")
    text = str(record)
    assert text == ("resize 256 (bicubic), centre crop 224, / 255, mean 0/0/0, std 1/1/1, RGB")
    assert Preprocessing(**record.to_dict()) == record
    assert "no antialiasing" in str(Preprocessing(resize=8, antialias=False))
    assert str(Preprocessing()).startswith("no resize, no crop")
