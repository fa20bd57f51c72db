"""The program: its verbs, and what becomes of errors, warnings and messages."""

from __future__ import annotations

import logging
import re
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from errno import EPIPE
from typing import Any

import click

from .. import __version__
from ..errors import ThingsvisionError, ThingsvisionWarning, nearest
from .compare import compare
from .convert import convert
from .demo import demo
from .diff import diff
from .doctor import doctor
from .extract import extract
from .methods import methods
from .model import model
from .models import models
from .modules import modules
from .output import say, text_width, wrapped
from .rdm import rdm
from .rsa import rsa
from .verb import AFTER_INTERRUPT, DEBUG, debug_option, write_examples
from .verify import verify
from .version2 import extract_features, show_model

FAILED, INTERRUPTED = 1, 130
# What functions call otherwise than the verbs do.
OTHERWISE = {"--random": "pretrained=False"}
# The modules, in one version of Python or another, between who gives a warning and who shows it.
PASSED_ON = ("warnings", "_py_warnings")


class Program(click.Group):
    """The group of all verbs."""

    def main(self, *args: Any, **options: Any) -> Any:
        """Run the program; characters that the terminal lacks are replaced."""
        for stream in (sys.stdout, sys.stderr):
            if reconfigure := getattr(stream, "reconfigure", None):
                reconfigure(errors="replace")
        return super().main(*args, **options)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a verb; a user's mistake becomes a paragraph, and never a traceback."""
        with _messages(lambda: DEBUG in ctx.meta):
            try:
                return super().invoke(ctx)
            except ThingsvisionError as error:
                _trace(ctx)
                say(f"Error: {error}{_as_options(ctx, str(error))}")
                code = FAILED
            except KeyboardInterrupt:
                _trace(ctx)
                say(f"Stopped. {ctx.meta.get(AFTER_INTERRUPT, str)()}".rstrip())
                code = INTERRUPTED
            except click.UsageError as error:
                text = wrapped(f"Error: {error.format_message()}", text_width())
                raise click.UsageError(text.removeprefix("Error: "), error.ctx) from None
            except (click.ClickException, click.exceptions.Exit, click.Abort):
                raise
            except Exception as error:
                if isinstance(error, OSError) and error.errno == EPIPE:
                    raise  # the reader of a pipe has gone; click ends quietly
                _trace(ctx)
                say(f"Error: {_in_a_line(error)}{_advice(ctx)}")
                code = FAILED
        raise click.exceptions.Exit(code)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a verb, or name the nearest."""
        verb = args[0]
        if self.get_command(ctx, verb) is None and not verb.startswith("-"):
            near = nearest(verb, self.list_commands(ctx), 2)
            ctx.fail(f"There is no verb {verb!r}. Nearest: {', '.join(near)}.")
        return super().resolve_command(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """List the verbs in the order in which they are used, not of the alphabet."""
        return list(self.commands)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples."""
        write_examples(
            formatter,
            (
                "thingsvision demo",
                'thingsvision models "resnet*"',
                "thingsvision extract --help",
            ),
        )


@click.group(
    cls=Program,
    context_settings={"help_option_names": ["-h", "--help"]},
    subcommand_metavar="VERB …",
    params=[debug_option()],
)
@click.version_option(__version__, message="thingsvision %(version)s")
def main() -> None:
    """Images in, activations of any vision network out, and from there to RDMs.

    Results go to standard output, messages to standard error.
    """


for verb in (demo, models, model, modules, extract, verify, methods, diff, convert, rdm, compare,
             rsa, doctor, extract_features, show_model):  # fmt: skip
    main.add_command(verb)


@contextmanager
def _messages(is_debugging: Callable[[], bool]) -> Iterator[None]:
    """Show the toolbox's own warnings and messages as plain lines, and keep others' away."""
    shown: set[str] = set()

    def show(message: Warning | str, category: type[Warning], *_: Any) -> None:
        text = str(message)
        is_for_user = issubclass(category, ThingsvisionWarning)
        if text not in shown and (is_for_user or is_debugging()):
            shown.add(text)
            say(f"Note: {text}")

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            say(record.getMessage())

    own, root = logging.getLogger("thingsvision"), logging.getLogger()
    handler, silence, level = Handler(), logging.NullHandler(), own.level
    own.addHandler(handler)
    root.addHandler(silence)
    own.setLevel(logging.INFO)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.showwarning = show  # type: ignore[assignment]
            yield
    finally:
        own.removeHandler(handler)
        root.removeHandler(silence)
        own.setLevel(level)


def _trace(ctx: click.Context) -> None:
    if DEBUG in ctx.meta:
        click.echo(traceback.format_exc(), err=True)


def _as_options(ctx: click.Context, message: str) -> str:
    """Say which options of the verb the arguments are that a message of a function names."""
    verb = main.get_command(ctx, ctx.invoked_subcommand or "")
    words = {**OTHERWISE, **getattr(verb, "words", {})}
    said = []
    for param in verb.params if verb else ():
        option = max(param.opts, key=len)
        argument = words.get(option, f"{param.name}=")
        if argument and option.startswith("--") and re.search(rf"\b{argument}", message):
            said.append(f"{argument} is {option}")
    return f"\nOn the command line, {', '.join(said)}." if said else ""


def _in_a_line(error: Exception) -> str:
    message = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def _advice(ctx: click.Context) -> str:
    if DEBUG in ctx.meta:
        return ""
    return "\nThis was not foreseen. Run again with --debug to see where it comes from."
