"""Asking, in a terminal, which module is wanted."""

from __future__ import annotations

from .errors import InvalidArgument, ModuleError
from .zoo import Network


def ask_module(network: Network) -> str:
    """Print a network's modules and ask for one, until it is one.

    Parameters
    ----------
    network : Network
        The network.

    Returns
    -------
    str
        The address that was typed.

    Raises
    ------
    InvalidArgument
        If nobody answers, as in a script whose input has come to its end.
    """
    print(network.structure)
    survey = network.modules()
    named = [module.name for module in survey.modules if module.outputs]
    question = f"\nEnter the part of the model for which you want features (e.g. {named[-1]!r}): "
    while True:
        try:
            answer = input(question).strip()
        except EOFError as error:
            raise InvalidArgument(
                "Nobody answered which module is wanted: show() asks in a terminal. In a script "
                f"give module_name=, e.g. {named[-1]!r}; all of them: "
                f"thingsvision modules {network.name}"
            ) from error
        if not answer:
            continue
        try:
            found = survey.resolve([answer])
        except ModuleError as error:
            print(error)
            continue
        if len(found) == 1:
            return answer
        print(f"{answer!r} stands for {len(found)} modules; enter one.")
