"""What the PyTorch backend leaves as it was: networks of all kinds, and PyTorch itself."""

import hashlib

import networks
import numpy as np
import pytest
import torch
from torch import nn

from thingsvision.backends.torch import TorchBackend, choose_device
from thingsvision.errors import InvalidArgument, ModuleError

SIZE = (6, 8)
BACKEND = TorchBackend()


def run(model, modules, batch=None, **options):
    batch = networks.pictures(2, SIZE) if batch is None else batch
    survey = BACKEND.modules(model, batch.shape[1:3])
    return BACKEND.run(model, batch, survey.resolve(modules), {}, **options)


def simple():
    return nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Dropout(), nn.ReLU(inplace=True),
        nn.Flatten(), nn.Linear(4 * 48, 5),
    )  # fmt: skip


class Fails(nn.Module):
    def __init__(self):
        super().__init__()
        self.part = nn.Conv2d(3, 3, 1)
        self.norm = nn.BatchNorm2d(3)
        self.armed = False

    def forward(self, x):
        x = self.norm(self.part(x))
        if self.armed:
            raise RuntimeError("on purpose")
        return x


def test_after_an_error_everything_is_as_it_was():
    model = Fails()
    model.norm.eval()
    model.part.weight.requires_grad_(False)
    captures = BACKEND.modules(model, SIZE).resolve(["*", "output"])
    model.armed = True
    before = networks.state_of(model)
    assert before["training"] == [("", True), ("part", True), ("norm", False)]
    for full in (True, False):
        with pytest.raises(RuntimeError, match="on purpose"):
            BACKEND.run(model, networks.pictures(2, SIZE), captures, {}, full=full)
        assert networks.state_of(model) == before
    with pytest.raises(ModuleError, match="on purpose"):
        BACKEND.modules(model, SIZE)
    assert networks.state_of(model) == before


@pytest.mark.parametrize("mode", ["train", "eval", "mixed"])
@pytest.mark.parametrize("grad", [True, False])
def test_modes_gradients_and_generators_are_as_they_were(mode, grad):
    model = simple().train(mode != "eval")
    if mode == "mixed":
        model[1].eval()
    model[0].weight.requires_grad_(False)
    model[5].weight.grad = torch.ones_like(model[5].weight)
    with torch.set_grad_enabled(grad):
        before = networks.state_of(model)
        statistics = model[1].running_mean.clone()
        run(model, ["*"])
        run(model, ["*"], full=True)
        assert networks.state_of(model) == before
    assert torch.equal(model[1].running_mean, statistics)
    assert model[5].weight.grad.eq(1).all()


@pytest.mark.parametrize("name", ["inception_v3", "googlenet"])
def test_auxiliary_outputs_of_training_do_not_appear(name):
    model = networks.small(name)
    assert model.training
    array = run(model, ["output"], networks.pictures(2, (80, 80)))["output"]
    assert array.shape == (2, 1000)
    assert model.training and all(module.training for module in model.modules())


class MergesInEvaluation(nn.Module):
    """Like adapters that are added to the weights in evaluation and taken off in training."""

    def __init__(self):
        super().__init__()
        self.part = nn.Conv2d(3, 3, 1)
        self.merged = False

    def train(self, mode=True):
        super().train(mode)
        self.merged = not mode
        return self

    def forward(self, x):
        assert self.merged
        return self.part(x)


def test_what_train_does_besides_is_undone():
    model = MergesInEvaluation().train()
    run(model, ["part"])
    assert model.training and not model.merged


def test_hooks_of_the_user_stay_and_take_part():
    model = simple()
    seen = []
    handle = model[0].register_forward_hook(lambda module, args, output: output * 0 + 7)
    model[0].register_forward_pre_hook(lambda *_: seen.append("pre"))
    before = networks.state_of(model)
    arrays = run(model, ["0", "1"])
    assert (arrays["0"] == 7).all()  # what the next module receives
    assert seen
    assert networks.state_of(model) == before
    handle.remove()
    assert not (run(model, ["0"])["0"] == 7).all()


class NoisyAlways(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 20)
        self.drop = nn.Identity()

    def forward(self, x):
        return self.drop(nn.functional.dropout(self.fc(x.mean((2, 3))), 0.5, training=True))


def test_networks_that_are_random_in_evaluation_follow_the_seed():
    model, batch = NoisyAlways(), networks.pictures(4, SIZE)
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first = run(model, ["drop"], batch, seed=1)["drop"]
    torch.rand(9)
    again = run(model, ["drop"], batch, seed=1, full=True)["drop"]
    other = run(model, ["drop"], batch, seed=2)["drop"]
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert 0 < (first == 0).mean() < 1
    torch.set_rng_state(state)
    expected = torch.rand(3)
    torch.set_rng_state(state)
    run(model, ["drop"], batch, seed=1)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_images_take_the_type_of_the_weights(dtype):
    model = simple()
    batch = networks.pictures(2, SIZE)
    expected = run(model, ["*"], batch)
    arrays = run(model.to(dtype), ["*"], batch)
    kinds = {torch.float64: np.float64, torch.bfloat16: np.float32, torch.float16: np.float16}
    for address, array in arrays.items():
        assert array.dtype == kinds[dtype]
        np.testing.assert_allclose(array, expected[address], rtol=0.05, atol=0.05)
    assert {p.dtype for p in model.parameters()} == {dtype}
    assert len(BACKEND.digest(model)) == 64


def test_defaults_of_torch_that_the_user_changed_do_no_harm():
    model, batch = simple(), networks.pictures(2, SIZE)
    expected = run(model, ["*"], batch)
    torch.set_default_dtype(torch.float64)
    try:
        with torch.device("meta"):
            arrays = run(model, ["*"], batch)
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    for address in expected:
        assert np.array_equal(arrays[address], expected[address])


def test_a_network_without_parameters():
    model = nn.Sequential(nn.AvgPool2d(2), nn.ReLU())
    batch = networks.pictures(2, SIZE)
    pooled = batch.reshape(2, 3, 2, 4, 2, 3).mean((2, 4)).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(run(model, ["0"], batch)["0"], pooled, rtol=1e-5, atol=1e-6)


class Tied(nn.Module):
    """Tied weights, and a buffer that is not in the state dict and decides the result."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False)
        self.two.weight = self.one.weight
        self.register_buffer("index", torch.tensor([2, 0, 1]), persistent=False)
        self.plain = torch.ones(3)  # neither parameter nor buffer

    def forward(self, x):
        return self.two(self.one(x.mean((2, 3)))[:, self.index] + self.plain)


def test_tied_parameters_and_hidden_buffers():
    model, batch = Tied(), networks.pictures(2, SIZE)
    before = networks.state_of(model)
    arrays = run(model, ["one", "two"], batch)
    weight = model.one.weight.detach().numpy()
    one = batch.mean((1, 2)) @ weight.T
    np.testing.assert_allclose(arrays["one"], one, rtol=1e-4, atol=1e-6)
    two = (one[:, [2, 0, 1]] + 1) @ weight.T
    np.testing.assert_allclose(arrays["two"], two, rtol=1e-4, atol=1e-6)
    assert networks.state_of(model) == before
    assert model.plain.device.type == "cpu"


class Caches(nn.Module):
    """Keeps what it computed for a size, like the anchors of detectors."""

    def __init__(self):
        super().__init__()
        self.part = nn.Conv2d(3, 3, 1)
        self.cache = None

    def forward(self, x):
        if self.cache is None:
            self.cache = torch.arange(x.shape[-1], device=x.device, dtype=x.dtype)
        return self.part(x + self.cache)


def test_the_survey_leaves_nothing_in_what_a_network_caches():
    model = Caches()
    assert BACKEND.modules(model, SIZE).method == "meta device"
    assert model.cache is None
    assert np.isfinite(run(model, ["part"])["part"]).all()


def test_lazy_modules_are_not_initialised_behind_the_users_back():
    model = nn.Sequential(nn.Flatten(), nn.LazyLinear(4))
    with pytest.raises(ModuleError, match=r"1\.weight.*Run the network once"):
        BACKEND.modules(model, SIZE)
    assert model[1].has_uninitialized_params()
    model(torch.zeros(1, 3, *SIZE))
    assert run(model, ["1"])["1"].shape == (2, 4)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_torchscript_is_refused():
    model = torch.jit.trace(simple().eval(), torch.zeros(1, 3, *SIZE))
    with pytest.raises(ModuleError, match="TorchScript"):
        BACKEND.modules(model, SIZE)


def test_compiled_networks_answer_as_the_network_inside():
    model, batch = simple(), networks.pictures(2, SIZE)
    expected = run(model, ["*"], batch)
    compiled = torch.compile(model, backend="eager")
    arrays = run(compiled, ["*"], batch)
    assert list(arrays) == list(expected)
    assert all(np.array_equal(arrays[key], expected[key]) for key in expected)


@pytest.mark.parametrize("in_place", [True, False])
def test_compiled_parts_are_run_eagerly(in_place):
    model, batch = simple(), networks.pictures(2, SIZE)
    expected = run(model, ["*"], batch)
    if in_place:
        model[5].compile(backend="eager")
        name = "5"
    else:
        model[5] = torch.compile(model[5], backend="eager")
        name = "5._orig_mod"
    model.eval()(networks.native_input(batch))  # compiled without our hooks
    graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    assert graphs > 0
    arrays = run(model, [name, "1"], batch)
    # Our hooks led to no new compilation.
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == graphs
    np.testing.assert_allclose(arrays[name], expected["5"], rtol=1e-5, atol=1e-6)
    assert np.array_equal(arrays["1"], expected["1"])


def test_the_digest_is_that_of_digests_of_blocks(monkeypatch):
    monkeypatch.setattr("thingsvision.backends.torch.BLOCK", 40)
    model = torch.nn.Linear(5, 3, bias=False)
    data = model.weight.detach().numpy().tobytes()
    blocks = [b"weight () torch.float32 (3, 5)", data[:40], data[40:]]
    digests = b"".join(hashlib.sha256(block).digest() for block in blocks)
    assert BACKEND.digest(model) == hashlib.sha256(digests).hexdigest()


def test_digest_tells_weights_apart_and_nothing_else():
    model = simple()
    digest = BACKEND.digest(model)
    assert digest == BACKEND.digest(model.eval()) == TorchBackend().digest(model)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    copy = simple()
    assert BACKEND.digest(copy) != digest
    copy.load_state_dict(state)
    assert BACKEND.digest(copy) == digest
    with torch.no_grad():
        copy[0].bias[0] += 1e-6
    assert BACKEND.digest(copy) != digest


def test_devices():
    assert choose_device("cpu") == "cpu"
    assert TorchBackend("auto").device in ("cpu", "mps") or torch.cuda.is_available()
    with pytest.raises(InvalidArgument, match=r"'tpu'.*auto.*cpu"):
        TorchBackend("tpu")
