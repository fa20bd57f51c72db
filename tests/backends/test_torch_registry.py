"""The PyTorch backend over the registry of torchvision, against hooks of our own.

By default the smallest network of each family is really run; ``-m slow`` runs all.
"""

import gc
from dataclasses import dataclass
from typing import Any

import networks
import numpy as np
import pytest
import torch

from thingsvision.backends.torch import TorchBackend
from thingsvision.errors import ModuleError
from thingsvision.reduction import flatten

PARAMETERS = [
    name if name in networks.REPRESENTATIVES else pytest.param(name, marks=pytest.mark.slow)
    for name in networks.NAMES
]
# Networks whose output is the output of one linear layer, and that layer.
CLASSIFIERS = {
    "alexnet": "classifier.6", "vgg": "classifier.6", "resnet": "fc", "resnext": "fc",
    "wide": "fc", "densenet": "classifier", "googlenet": "fc", "inception": "fc",
    "mobilenet_v2": "classifier.1", "mobilenet_v3": "classifier.3", "shufflenet": "fc",
    "mnasnet": "classifier.1", "efficientnet": "classifier.1", "regnet": "fc",
    "convnext": "classifier.2", "swin": "head", "vit": "heads.head", "maxvit": "classifier.5",
    "r3d": "fc", "mc3": "fc", "r2plus1d": "fc", "mvit": "head.1",
}  # fmt: skip


def classifier_of(name):
    return next((layer for start, layer in CLASSIFIERS.items() if name.startswith(start)), None)


@dataclass
class Case:
    """A network, and everything it returns for two images, by the backend and by our hooks."""

    name: str
    model: Any
    backend: TorchBackend
    survey: Any
    batch: np.ndarray
    captures: list
    full: dict
    reference: dict
    calls: dict
    before: dict
    after: dict


@pytest.fixture(scope="module", params=PARAMETERS)
def case(request):
    name = request.param
    model = networks.small(name)
    backend = TorchBackend("cpu", networks.frames_of(name))
    size = networks.size_of(name)
    before = networks.state_of(model)
    survey = backend.modules(model, size)
    batch = networks.pictures(2, size)
    captures = survey.resolve(["*:*"])
    full = backend.run(model, batch, captures, {}, full=True)
    after = networks.state_of(model)
    native = networks.native_input(batch, networks.frames_of(name))
    reference, calls = networks.reference(model, native)
    yield Case(name, model, backend, survey, batch, captures, full, reference, calls, before, after)
    gc.collect()


def test_the_network_is_left_as_it_was(case):
    assert case.after == case.before


def test_calls_are_those_that_hooks_count(case):
    names = [name for name, _ in case.model.named_modules() if name]
    assert [module.name for module in case.survey.modules] == names
    assert {module.name: module.calls for module in case.survey.modules} == {
        name: case.calls[name] for name in names
    }


def test_surveyed_shapes_are_those_that_are_observed(case):
    for module in (*case.survey.modules, case.survey.root):
        for output in module.outputs:
            if output.batch_axis is None:
                continue
            seen = list(case.reference[module.name, output.call, output.path].shape)
            assert seen.pop(output.batch_axis) == 2, module.name
            assert tuple(seen) == output.shape, module.name
            assert len(output.axes) == len(output.shape)


def test_every_activation_is_the_one_that_a_cloning_hook_sees(case):
    assert len(case.captures) > 20
    varies = 0
    for capture in case.captures:
        theirs = case.reference[capture.module, capture.call, capture.path].numpy()
        ours = case.full[capture.address]
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(
            ours, theirs, rtol=1e-4, atol=2e-5 * np.abs(theirs).max(initial=0),
            err_msg=capture.address,
        )  # fmt: skip
        varies += theirs.size > 1 and not np.array_equal(theirs[0], theirs[1])
    # The comparison would mean nothing on a network that answers the same to all images.
    # (Quantization of random weights silences most units.)
    quantized = networks.task_of(case.name) == "quantization"
    assert varies > (10 if quantized else 0.5 * len(case.captures))


def test_rows_follow_the_images(case):
    middle = case.captures[len(case.captures) // 3]
    turned = case.backend.run(case.model, case.batch[::-1].copy(), [middle], {})
    ours, theirs = turned[middle.address][::-1], case.full[middle.address]
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=2e-5 * np.abs(theirs).max())


@pytest.mark.parametrize("depth", [0.0, 0.5, 1.0])
def test_early_stop_equals_the_full_pass_bit_for_bit(case, depth):
    capture = case.captures[round(depth * (len(case.captures) - 1))]
    ran = set()
    handles = [
        module.register_forward_hook(lambda *_, name=name: ran.add(name))
        for name, module in case.model.named_modules()
    ]
    try:
        early = case.backend.run(case.model, case.batch, [capture], {})
    finally:
        for handle in handles:
            handle.remove()
    assert list(early) == [capture.address]
    assert np.array_equal(early[capture.address], case.full[capture.address])
    assert "" not in ran  # the pass did not reach the network's end
    order = {key[:2]: position for position, key in enumerate(case.reference)}
    last = order[capture.module, capture.call]
    later = {name for (name, call), place in order.items() if call == 0 and place > last}
    assert not ran & later


def test_several_modules_in_one_pass_with_a_reduction(case):
    some = case.captures[:: max(1, len(case.captures) // 7)]
    arrays = case.backend.run(case.model, case.batch, some, {some[0].address: flatten})
    assert list(arrays) == [capture.address for capture in some]
    for position, capture in enumerate(some):
        expected = case.full[capture.address]
        expected = expected.reshape(2, -1) if position == 0 else expected
        assert np.array_equal(arrays[capture.address], expected)


def test_arrays_share_no_memory(case):
    bases = [case.full[capture.address] for capture in case.captures[:60]]
    assert all(not np.shares_memory(a, case.batch) for a in bases)
    starts = [array.__array_interface__["data"][0] for array in bases if array.size]
    assert len(set(starts)) == len(starts)


def test_output_is_what_the_model_returns(case):
    if networks.task_of(case.name) == "detection":
        with pytest.raises(ModuleError, match="output"):
            case.survey.resolve(["output"])
        return
    segmentation = networks.task_of(case.name) == "segmentation"
    address = "output[out]" if segmentation else "output"
    native = networks.native_input(case.batch, networks.frames_of(case.name))
    with torch.no_grad():
        expected = case.model.eval()(native)
    expected = expected["out"] if segmentation else expected
    captures = case.survey.resolve([address])
    array = case.backend.run(case.model, case.batch, captures, {}, full=True)[address]
    np.testing.assert_allclose(
        array, expected.numpy(), rtol=1e-4, atol=2e-5 * expected.abs().max().item()
    )
    if segmentation:
        with pytest.raises(ModuleError, match=r"output\[out\]"):
            case.survey.resolve(["output"])


def test_penultimate_is_the_input_of_the_classifier(case):
    layer = classifier_of(case.name)
    if layer is None or networks.task_of(case.name) in ("quantization", "detection"):
        with pytest.raises(ModuleError, match="no 'penultimate'"):
            case.survey.resolve(["penultimate"])
        return
    captures = case.survey.resolve(["penultimate"])
    array = case.backend.run(case.model, case.batch, captures, {})["penultimate"]
    linear = case.model.get_submodule(layer)
    # Independent of how it was captured: the layer makes the network's output of it.
    output = case.reference["", 0, ()]
    assert array.shape == (2, linear.in_features)
    again = torch.nn.functional.linear(torch.from_numpy(array), linear.weight, linear.bias)
    np.testing.assert_allclose(
        again.detach(), output, rtol=1e-4, atol=2e-5 * output.abs().max().item()
    )


def test_modules_that_are_never_called_are_refused_with_the_one_around(case):
    silent = [module.name for module in case.survey.modules if not module.calls]
    for name in silent:
        with pytest.raises(ModuleError, match="never called") as caught:
            case.survey.resolve([name])
        around = [m.name for m in case.survey.modules if name.startswith(f"{m.name}.") and m.calls]
        capturable = {capture.module for capture in case.captures}
        around = [parent for parent in around if parent in capturable]
        if around:
            assert around[-1] in str(caught.value)
    assert not {capture.module for capture in case.captures} & set(silent)


def test_modules_without_a_row_per_stimulus_are_refused_by_name(case):
    capturable = {capture.module for capture in case.captures}
    for module in case.survey.modules:
        if module.calls and module.outputs and module.name not in capturable:
            with pytest.raises(ModuleError) as caught:
                case.survey.resolve([module.address(module.last[0])])
            assert module.name in str(caught.value)
            assert "one row per stimulus" in str(caught.value)
            seen = case.reference.get((module.name, module.calls - 1, module.last[0].path))
            if networks.task_of(case.name) != "detection":
                assert seen is None or seen.shape[0] != 2 or module.name.endswith("cpb_mlp.2")
