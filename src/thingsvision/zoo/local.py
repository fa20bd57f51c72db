"""Networks of the user's own: an object at hand, or a function in a file that makes one."""

from __future__ import annotations

import ast
import inspect
import random
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import is_dataclass, replace
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from ..errors import InvalidArgument, ThingsvisionError, listing, unknown
from ..preprocessing import Preprocessing
from ..provenance import digest_file
from ..text_files import beside
from .card import ModelCard
from .frameworks import FRAMEWORKS, framework_of
from .network import Network
from .source import Choice

KIND = "the user's model"
EXAMPLE = """
    import thingsvision as tv

    def {function}():
        model = ...  # your model, with its weights
        preprocessing = tv.Preprocessing(resize=256, crop=224)
        return tv.wrap_model(model, preprocessing)
"""


def wrap_model(
    model: Any,
    preprocessing: Preprocessing,
    *,
    name: str = "",
    device: str | None = None,
    forward: Callable[[Any, Any], Any] | None = None,
) -> Network:
    """Use a network of your own.

    Parameters
    ----------
    model : torch.nn.Module or keras.Model
        Your model, with its weights.
    preprocessing : Preprocessing
        What it expects of an image.
    name : str
        Used in the provenance; the name of its class by default.
    device : str, optional
        As in `load_model`; the model is moved there. By default it is run where it is.
    forward : callable, optional
        Takes the model and a batch, and gives the output, for models whose own ``forward`` needs
        further arguments, e.g. ``lambda model, batch: model(batch, None)``; for PyTorch.

    Returns
    -------
    Network

    Raises
    ------
    InvalidArgument
        If the model is of no known framework, or `preprocessing` is none.

    Examples
    --------
    >>> import torch
    >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 7), torch.nn.ReLU())
    >>> wrap_model(model, Preprocessing(resize=64, crop=56), name="mine").name
    'local/mine'
    """
    framework = framework_of(model)
    if framework is None:
        kinds = " or a ".join(known.kind for known in FRAMEWORKS)
        raise InvalidArgument(f"The model is a {type(model).__name__}; allowed is a {kinds}.")
    if not isinstance(preprocessing, Preprocessing):
        raise InvalidArgument(
            f"preprocessing is {preprocessing!r}; it says what the model expects of an image, "
            "e.g. thingsvision.Preprocessing(resize=256, crop=224)."
        )
    backend = framework.backend(model, device)
    label = name or type(model).__name__
    if forward is not None:
        model = _entered(model, backend.name, forward)
    card = ModelCard(
        f"local/{label}", preprocessing=preprocessing, parameters=framework.parameters(model)
    )
    return Network(card.name, model, backend, preprocessing, card, {"kind": KIND})


def _entered(model: Any, framework: str, forward: Callable[[Any, Any], Any]) -> Any:
    if framework != "torch":
        raise InvalidArgument(
            "forward= is for models of PyTorch. For Keras, make a keras.Model of the inputs and "
            "outputs that are wanted."
        )
    from .towers import entered

    return entered(model, forward)


def is_factory(name: str) -> bool:
    """Tell ``path/to/file.py:function`` from the name of a model.

    Examples
    --------
    >>> is_factory("nets/v1.py:make"), is_factory("timm/resnet50")
    (True, False)
    """
    return _split(name)[0].endswith(".py")


class Files:
    """Files of the user, seen as a source; only what is named is run."""

    def names(self) -> list[str]:
        """List nothing: files are named, not looked for."""
        return []

    def card(self, name: str, weights: str | None = None) -> ModelCard:
        """Run the function, for the card of what it makes."""
        return self.load(name, Choice(weights=weights, device="meta")).card

    def load(self, name: str, choice: Choice) -> Network:
        """Run the function, with those of the wanted options that it takes."""
        path, wanted = _split(name)
        file = Path(path).expanduser().absolute()
        if not file.is_file():
            raise InvalidArgument(f"There is no file {path!r}.{beside(file)}")
        if not wanted:
            raise InvalidArgument(
                f"Say which function of {path} makes the network: {path}:FUNCTION. "
                f"It defines {listing(_functions(file)) or 'none'}."
            )
        digest = digest_file(file)
        with _reproducibly(choice.seed), _importing_from(file.parent):
            factory = _found(file, wanted, digest)
            options = _options(factory, name, choice)
            network = _checked(_run(file, lambda: factory(**options)), file, wanted)
        record = {
            **network.weights,
            "made_by": name,
            "sha256_of_file": digest,
            **{key: value for key, value in options.items() if key != "device"},
            "seed": choice.seed,
        }
        if choice.file is not None:
            record |= _fit(network, choice.file)
        network = replace(network, weights=record)
        if choice.device == "meta" or "device" in options:
            return network
        return _moved(network, choice.device)


FILES = Files()


def _split(name: str) -> tuple[str, str]:
    path, colon, function = name.rpartition(":")
    return (path, function) if colon and path.endswith(".py") else (name, "")


def _functions(file: Path) -> list[str]:
    """List the functions that a file defines, without running it."""
    tree = _run(file, lambda: ast.parse(file.read_bytes(), str(file)))
    return [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]


def _found(file: Path, wanted: str, digest: str) -> Callable[..., Any]:
    """Run a file and take a function out of it."""
    # Kept in sys.modules, where dataclasses and pickle look for the module of a class.
    label = f"thingsvision_file_{digest[:16]}"
    loader = SourceFileLoader(label, str(file))
    spec = spec_from_loader(label, loader)
    assert spec is not None
    module = sys.modules[label] = module_from_spec(spec)
    _run(file, lambda: loader.exec_module(module))
    if not hasattr(module, wanted):
        raise unknown(f"function in {_shown(file)}", wanted, _functions(file))
    factory = getattr(module, wanted)
    if not callable(factory) or framework_of(factory) is not None:
        raise InvalidArgument(
            f"{wanted} in {_shown(file)} is a {type(factory).__name__}, not a function that makes "
            f"a network. For example:\n{EXAMPLE.format(function='make_network')}"
        )
    return factory  # type: ignore[no-any-return]


def _options(factory: Callable[..., Any], name: str, choice: Choice) -> dict[str, Any]:
    """Give the options that a function takes; refuse those that were asked for in vain."""
    from ..backends.torch import choose_device

    offered = {
        # A file replaces all weights, so none are fetched before.
        "pretrained": choice.pretrained and choice.file is None and choice.device != "meta",
        "weights": choice.weights,
        "init": choice.init,
        "seed": choice.seed,
        "device": choose_device("cpu" if choice.device == "meta" else choice.device),
    }
    parameters = inspect.signature(factory).parameters.values()
    takes_all = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
    taken = {
        key: value
        for key, value in offered.items()
        if takes_all or key in {parameter.name for parameter in parameters}
    }
    asked = {
        "pretrained": not choice.pretrained and choice.device != "meta",
        "weights": choice.weights is not None,
        "init": choice.init is not None,
    }
    vain = [key for key, is_asked in asked.items() if is_asked and key not in taken]
    if vain:
        key = vain[0]
        raise InvalidArgument(
            f"{key}={offered[key]!r} was asked for, but the function of {name} takes no argument "
            f"{key!r}. Give it one, or leave {key}= away."
        )
    return taken


def _checked(made: Any, file: Path, wanted: str) -> Network:
    if isinstance(made, Network):
        return made
    known = framework_of(made) is not None
    function = "make_network" if wanted[:1].isupper() else wanted  # not the name of a class
    hint = "The preprocessing that belongs to it cannot be guessed. " if known else ""
    raise InvalidArgument(
        f"{wanted}() in {_shown(file)} returned a {type(made).__name__}, not a network of "
        f"thingsvision.wrap_model. {hint}For example:\n{EXAMPLE.format(function=function)}"
    )


def _fit(network: Network, file: str) -> dict[str, Any]:
    """Put the weights of a file into a network."""
    if network.backend.name != "torch":
        raise InvalidArgument(
            f"weights= is {file!r}, but {network.name} is no network of PyTorch. Load the weights "
            "in the function that makes it."
        )
    from .weights import fitted, read_weights

    fitted(lambda: network.model, read_weights(file), repr(file))
    return {"kind": "file", "file": file}


def _moved(network: Network, device: str) -> Network:
    """Move a network to a device, unless its function has chosen one."""
    if device == "auto" and network.backend.device != "cpu":
        return network
    backend: Any = network.backend
    if is_dataclass(backend):
        backend = replace(backend, device=device)  # type: ignore[type-var]
    if backend.name == "torch":
        network.model.to(backend.device)
    return replace(network, backend=backend, text=network.text and _moved(network.text, device))


def _run(file: Path, action: Callable[[], Any]) -> Any:
    """Do something with the user's code, and say where it failed."""
    try:
        return action()
    except (Exception, SystemExit) as error:
        lines = [f.lineno for f in traceback.extract_tb(error.__traceback__)
                 if f.filename == str(file)]  # fmt: skip
        if isinstance(error, SyntaxError) and error.filename == str(file):
            lines.append(error.lineno)
        where = f"{_shown(file)}, line {lines[-1]}" if lines else _shown(file)
        message = error.msg if isinstance(error, SyntaxError) else error
        raise ThingsvisionError(f"{where}: {type(error).__name__}: {message}") from error


def _shown(file: Path) -> str:
    return str(file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file)


@contextmanager
def _reproducibly(seed: int) -> Iterator[None]:
    """Seed what networks draw their first weights from, and put its state back."""
    from ..backends.torch_state import seeded

    states = random.getstate(), np.random.get_state()  # noqa: NPY002
    random.seed(seed)  # Keras draws its seeds here
    np.random.seed(seed % 2**32)  # noqa: NPY002
    try:
        with seeded(seed, "cpu"):
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002


@contextmanager
def _importing_from(folder: Path) -> Iterator[None]:
    """Let a file import its neighbours, and forget them afterwards.

    Otherwise the next file, in another folder, would get them in the place of its own neighbours
    of the same names.
    """
    before = set(sys.modules)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        for name in set(sys.modules) - before:
            top = name.partition(".")[0]
            if top not in before and _lies_in(sys.modules[name], folder, top):
                del sys.modules[name]


def _lies_in(module: ModuleType, folder: Path, top: str) -> bool:
    file = Path(getattr(module, "__file__", None) or "")
    return file == folder / f"{top}.py" or file.is_relative_to(folder / top)
