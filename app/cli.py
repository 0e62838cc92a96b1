"""The command `chainrule`. docs/decisions/0008-command.md says why it is made with click."""

import gc
import os
import re
import signal
import urllib.error
import urllib.request
from http.client import HTTPException
from typing import Any

import click
import orjson
from click.shell_completion import CompletionItem, get_completion_class
from pydantic import ValidationError

from app import VERSION

# BLAS reads these when NumPy is imported; small matrices lose more by threads than they gain, and the requests that are
# computed at the same time are the threads.
for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

SHELLS = ("bash", "zsh", "fish")
HTTP_SECONDS = 330
"""A training run may take five minutes."""


class ExampleName(click.ParamType[str]):
    """The name of a ready request."""

    name = "NAME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from app.examples import EXAMPLES
        from schemas.names import nearest

        if value not in EXAMPLES:
            self.fail(f"There is no example {value!r}. {nearest(value, list(EXAMPLES)) or ''}", param, ctx)
        return str(value)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from app.examples import EXAMPLES

        known = EXAMPLES.items()
        return [CompletionItem(name, help=it["title"]) for name, it in known if name.startswith(incomplete)]


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def main() -> None:
    """Backpropagation over HTTP: every gradient of a network, exact and explained."""


@main.command()
@click.option("--host", metavar="ADDRESS", help="Where to listen; 0.0.0.0 is everywhere.  [HOST, or 127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65535), help="0 is any free port; the log says which.  [PORT, or 8000]")
@click.option("--workers", type=click.IntRange(1, 1024), help="How many processes serve.  [CHAINRULE_WORKERS, or 1]")
def serve(host: str | None, port: int | None, workers: int | None) -> None:
    """Serve until SIGTERM or Ctrl+C.

    Everything else is set by environment variables; see "Settings" in the README.
    """
    # Until the server hears of signals itself: the system ends no first process of a container without a handler.
    signal.signal(signal.SIGTERM, lambda number, frame: os._exit(0))
    from app.keys import configured_keys
    from app.settings import settings, unknown_variables, variable

    try:
        chosen = settings()
    except ValidationError as error:
        mistakes = [f"{variable(str(mistake['loc'][0]))}: {mistake['msg']}" for mistake in error.errors()]
        raise click.ClickException("The environment has settings that are wrong: " + "; ".join(mistakes)) from None
    for name, hint in unknown_variables():
        click.echo(f"The environment has {name}, which is no setting. {hint}".strip(), err=True)
    configured_keys()
    gc.disable()  # Until the application is there, nothing of it is garbage; looking costs a tenth of the start.
    from app.server import serve

    serve(host or chosen.host, chosen.port if port is None else port, workers or chosen.workers)


@main.command()
def openapi() -> None:
    """Print the OpenAPI document, for generators of clients."""
    from app.main import create_app

    click.echo(orjson.dumps(create_app().openapi(), option=orjson.OPT_INDENT_2))


@main.command()
@click.argument("name", type=ExampleName(), required=False)
@click.option("--run", is_flag=True, help="Post the request to a running service, and print its answer.")
@click.option("--url", default="http://127.0.0.1:8000", show_default=True, help="Where that service is.")
def example(name: str | None, run: bool, url: str) -> None:
    """Print a ready request. Without a name: which there are.

    \b
    chainrule example textbook > step.json
    chainrule example textbook --run
    """
    from app.examples import EXAMPLES

    if name is None:
        width = max(map(len, EXAMPLES))
        for known, content in EXAMPLES.items():
            click.echo(f"{known:{width}}  {content['title']}")
    elif run:
        click.echo(post(url.rstrip("/") + EXAMPLES[name]["endpoint"], orjson.dumps(EXAMPLES[name]["request"])))
    else:
        click.echo(readable(EXAMPLES[name]["request"]))


@main.command()
def version() -> None:
    """Print the version."""
    click.echo(VERSION)


@main.command()
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print a script that lets SHELL complete this command.

    \b
    bash, in ~/.bashrc:                    eval "$(chainrule completion bash)"
    zsh, in ~/.zshrc:                      eval "$(chainrule completion zsh)"
    fish, in ~/.config/fish/config.fish:   chainrule completion fish | source
    """
    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(main, {}, "chainrule", "_CHAINRULE_COMPLETE").source())


def readable(content: Any) -> str:
    """JSON with a line for each field and for each row of numbers."""
    text = orjson.dumps(content, option=orjson.OPT_INDENT_2).decode()
    return re.sub(r"\[[^][{}]*\]", lambda row: re.sub(r"\s+", " ", row[0]).replace("[ ", "[").replace(" ]", "]"), text)


def post(url: str, body: bytes) -> str:
    """The answer, made readable; a problem is printed too, and ends the command with status 1."""
    try:
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=HTTP_SECONDS) as answer:
            return readable(orjson.loads(answer.read()))
    except urllib.error.HTTPError as error:
        click.echo(error.read())
        raise click.ClickException(f"{url} answered {error.code}.") from None
    except (OSError, ValueError, HTTPException) as error:
        hint = "Is it running? chainrule serve starts one; --url says where another is."
        raise click.ClickException(f"No answer from {url}: {error}. {hint}") from None


def command() -> None:
    main(prog_name="chainrule")


if __name__ == "__main__":
    command()
