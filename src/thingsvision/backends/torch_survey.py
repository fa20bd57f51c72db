"""What a PyTorch network calls in a forward pass, and what each call returns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from torch import Tensor, nn

from .axes import axis_names
from .survey import Module, Output, Path, Survey
from .torch_tokens import token_layout


class Trace:
    """What was called in one pass, in the order of return."""

    def __init__(self) -> None:
        self.shapes: dict[tuple[str, int], dict[Path, tuple[int, ...]]] = {}
        self.calls: Counter[str] = Counter()
        self.last_linear: tuple[str, int, Tensor] | None = None
        self.classifier: tuple[str, int] | None = None
        self.classifier_input: tuple[int, ...] = ()


def trace_calls(model: nn.Module, batch: Tensor) -> Trace:
    """Note every call of every module during one forward pass."""
    trace = Trace()
    inputs: dict[str, tuple[int, ...]] = {}

    def record(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            call = trace.calls[name]
            trace.calls[name] += 1
            trace.shapes[name, call] = {path: tuple(t.shape) for path, t in leaves(output)}
            if isinstance(module, nn.Linear) and isinstance(output, Tensor):
                trace.last_linear = (name, call, output)
                inputs[name] = tuple(first_input(args, kwargs).shape)

        return hook

    with ExitStack() as stack:
        for name, module in model.named_modules():
            hook = module.register_forward_hook(record(name), with_kwargs=True)
            stack.callback(hook.remove)
        result = model(batch)
    # Hugging Face wraps the scores in a dictionary that holds nothing else.
    given = [tensor for _, tensor in leaves(result)]
    if trace.last_linear is not None and len(given) == 1 and trace.last_linear[2] is given[0]:
        name, call, _ = trace.last_linear
        trace.classifier, trace.classifier_input = (name, call), inputs[name]
    trace.last_linear = None  # lets go of the tensor
    return trace


def survey_from(
    model: nn.Module,
    passes: Sequence[Trace],
    method: str,
) -> Survey:
    """Compare passes of two and three images, and of larger images, to tell the axes apart."""
    two, three, bigger = passes
    order = {key: position for position, key in enumerate(two.shapes)}
    layout = token_layout(model, _sequences(model, two, three), _maps(model, two))
    tokens = _token_counts(model, two) | ({layout.count, layout.patches} if layout else set())
    modules = []
    for name, module in model.named_modules():
        outputs = []
        for call in range(two.calls[name]):
            other, big = three.shapes.get((name, call), {}), bigger.shapes.get((name, call), {})
            for path, shape in two.shapes[name, call].items():
                batch_axis = _batch_axis(module, shape, other.get(path))
                rest = shape if batch_axis is None else _without(shape, batch_axis)
                grown = big.get(path)
                if grown is not None and batch_axis is not None:
                    grown = _without(grown, batch_axis)
                axes = name_axes(module, rest, grown, tokens)
                outputs.append(Output(call, path, rest, axes, batch_axis, order[name, call]))
        modules.append(Module(name, type(module).__name__, two.calls[name], tuple(outputs)))
    names = {id(module): name for name, module in model.named_modules()}
    every = model.named_modules(remove_duplicate=False)
    aliases = {name: names[id(module)] for name, module in every if name != names[id(module)]}
    classifier, given = None, None
    if two.classifier is not None:
        classifier, call = two.classifier
        shape = two.classifier_input
        axes = ("feature",) if len(shape) == 2 else name_axes(None, shape[1:], None, tokens)
        batch_axis = 0 if shape[:1] == (2,) else None
        given = Output(call, (), shape[1:], axes, batch_axis, order[classifier, call])
    return Survey(tuple(modules[1:]), modules[0], classifier, given, aliases, method, layout)


def _batch_axis(
    module: nn.Module, two: tuple[int, ...], three: tuple[int, ...] | None
) -> int | None:
    """Find the axis that follows the number of images: 2 in one pass, 3 in the other."""
    if three is None or len(two) != len(three):
        return None
    changed = [axis for axis, pair in enumerate(zip(two, three, strict=True)) if pair[0] != pair[1]]
    if len(changed) != 1 or (two[changed[0]], three[changed[0]]) != (2, 3):
        return None
    sequence_first = getattr(module, "batch_first", None) is False
    return changed[0] if changed == [0] or (changed == [1] and sequence_first) else None


def _sequences(model: nn.Module, two: Trace, three: Trace) -> Iterator[int]:
    """Find the lengths of what may be sequences of tokens: rows of numbers for each image."""
    kinds = dict(model.named_modules())
    for (name, call), shapes in two.shapes.items():
        for path, shape in shapes.items():
            axis = _batch_axis(kinds[name], shape, three.shapes.get((name, call), {}).get(path))
            if axis is not None and len(shape) == 3:
                yield _without(shape, axis)[0]


def _maps(model: nn.Module, trace: Trace) -> Iterator[tuple[int, int]]:
    """Find the heights and widths of what convolutions gave back."""
    kinds = dict(model.named_modules())
    for (name, _), shapes in trace.shapes.items():
        if isinstance(kinds[name], nn.Conv2d):
            yield from ((shape[-2], shape[-1]) for shape in shapes.values())


def _token_counts(model: nn.Module, trace: Trace) -> set[int]:
    """Find how many tokens there are, from modules that work on tokens."""
    kinds = {name: module for name, module in model.named_modules() if isinstance(module, _TOKENS)}
    return {
        shape[1]
        for (name, _), shapes in trace.shapes.items()
        for shape in shapes.values()
        if name in kinds and len(shape) == 3 and shape[0] == 2
    }


def name_axes(
    module: nn.Module | None,
    shape: tuple[int, ...],
    grown: tuple[int, ...] | None,
    tokens: Collection[int] = (),
) -> tuple[str, ...]:
    """Name the axes of one stimulus's activation; see `axis_names`."""
    stated = ("channel", "height", "width") if isinstance(module, _MAPS) else None
    return axis_names(shape, grown, stated, tokens)


_MAPS = (nn.Conv2d, nn.BatchNorm2d, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d)
_TOKENS = (nn.LayerNorm, nn.MultiheadAttention, nn.TransformerEncoderLayer)


def leaves(output: Any, path: Path = ()) -> Iterator[tuple[Path, Tensor]]:
    """Walk through tuples, lists and dictionaries to the tensors in them."""
    if isinstance(output, Tensor):
        yield path, output
    elif isinstance(output, Mapping):
        for key, value in output.items():
            yield from leaves(value, (*path, key))
    elif isinstance(output, (tuple, list)):
        for index, value in enumerate(output):
            yield from leaves(value, (*path, index))


def first_input(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """Give what a module was called with first, by position or by name."""
    return args[0] if args else next(iter(kwargs.values()))


def _without(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    return shape[:axis] + shape[axis + 1 :]
