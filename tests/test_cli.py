"""The command: its help, its subcommands against a real server, and completion in real shells."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest

from app import VERSION
from app.examples import EXAMPLES
from tests.conftest import ROOT, Server

COMPLETED = {
    "bash": 'eval "$(chainrule completion bash)"; COMP_WORDS=({words}); COMP_CWORD={last}; '
    '_chainrule_completion chainrule; printf "%s\\n" "${{COMPREPLY[@]}}"',
    "fish": 'chainrule completion fish | source; complete -C "{line}"',
}


def chainrule(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "app.cli", *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_help_names_every_subcommand() -> None:
    for arguments in ((), ("--help",), ("-h",)):
        finished = chainrule(*arguments)
        shown = finished.stdout + finished.stderr
        listed = shown.partition("Commands:\n")[2]
        assert re.findall(r"^  (\w+) +\S.*$", listed, re.MULTILINE) == [
            "completion",
            "example",
            "openapi",
            "serve",
            "version",
        ]
    for command, option in (("serve", "--workers"), ("example", "--run"), ("completion", "~/.bashrc")):
        assert option in chainrule(command, "--help").stdout


def test_version() -> None:
    assert chainrule("version").stdout == f"{VERSION}\n"


def test_openapi_is_what_the_service_says(client: httpx.Client) -> None:
    assert json.loads(chainrule("openapi").stdout) == client.get("/openapi.json").json()


@pytest.mark.parametrize("name", list(EXAMPLES))
def test_every_example_reads_back(name: str) -> None:
    from app.cli import readable

    assert json.loads(readable(EXAMPLES[name]["request"])) == EXAMPLES[name]["request"]


def test_an_example_is_printed_and_run(server: Server, post: Any) -> None:
    printed = chainrule("example", "textbook").stdout
    assert json.loads(printed) == EXAMPLES["textbook"]["request"]
    assert '"inputs": [\n    [0.1, 0.2, 0.7]\n  ]' in printed
    answer = chainrule("example", "textbook", "--run", "--url", server.url + "/")
    assert answer.returncode == 0
    assert json.loads(answer.stdout) == post("/v1/step", EXAMPLES["textbook"]["request"])


def test_examples_are_listed_and_nearly_right_names_corrected() -> None:
    assert [line.split()[0] for line in chainrule("example").stdout.splitlines()] == list(EXAMPLES)
    wrong = chainrule("example", "textbok")
    assert wrong.returncode == 2 and "textbook" in wrong.stderr


def test_without_a_service_it_says_so() -> None:
    refused = chainrule("example", "xor", "--run", "--url", "http://127.0.0.1:9")
    assert (
        refused.returncode == 1
        and refused.stdout == ""
        and "No answer from http://127.0.0.1:9/v1/step" in refused.stderr
    )


@pytest.mark.parametrize("url", ["localhost", "localhost:8000", "http://[", "http://127.0.0.1:port"])
def test_what_is_no_url_is_told(url: str) -> None:
    refused = chainrule("example", "xor", "--run", "--url", url)
    assert refused.returncode == 1 and refused.stderr.startswith(f"Error: No answer from {url}/v1/step: ")
    assert "--url says where" in refused.stderr


def test_a_service_that_does_not_speak_http_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(30)

        def greet() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")

        thread = threading.Thread(target=greet)
        thread.start()
        refused = chainrule("example", "xor", "--run", "--url", f"http://127.0.0.1:{listener.getsockname()[1]}")
        thread.join()
    assert refused.returncode == 1 and "SSH-2.0" in refused.stderr and "Traceback" not in refused.stderr


def test_a_problem_is_printed(server: Server) -> None:
    refused = chainrule("example", "xor", "--run", "--url", server.url + "/elsewhere")
    assert refused.returncode == 1 and json.loads(refused.stdout)["status"] == 404 and "answered 404" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "environment", "said"),
    [
        (["--port", "70000"], {}, "70000"),
        (["--workers", "0"], {}, "0"),
        ([], {"PORT": "http"}, "PORT"),
        ([], {"HOST": ""}, "HOST: "),
        ([], {"CHAINRULE_LOG_LEVEL": "loud"}, "CHAINRULE_LOG_LEVEL: "),
        ([], {"CHAINRULE_MAX_SECONDS": "inf"}, "CHAINRULE_MAX_SECONDS: "),
        (
            [],
            {"CHAINRULE_CORS_ORIGINS": "https://a.example, course.example"},
            "CHAINRULE_CORS_ORIGINS: 'course.example'",
        ),
        ([], {"CHAINRULE_CORS_ORIGINS": "https://a.example/"}, "CHAINRULE_CORS_ORIGINS: 'https://a.example/'"),
        ([], {"CHAINRULE_CORS_ORIGINS": "https://*.example"}, "CHAINRULE_CORS_ORIGINS: 'https://*.example'"),
        ([], {"CHAINRULE_ALLOWED_HOSTS": "https://a.example"}, "CHAINRULE_ALLOWED_HOSTS: 'https://a.example'"),
        ([], {"CHAINRULE_ALLOWED_HOSTS": "a.example:8000"}, "CHAINRULE_ALLOWED_HOSTS: 'a.example:8000'"),
        ([], {"CHAINRULE_TRUSTED_PROXIES": "proxy.example"}, "CHAINRULE_TRUSTED_PROXIES: 'proxy.example'"),
        ([], {"CHAINRULE_TRUSTED_PROXIES": "10.0.0.1/8"}, "CHAINRULE_TRUSTED_PROXIES: '10.0.0.1/8'"),
    ],
)
def test_serve_refuses_what_is_wrong(arguments: list[str], environment: dict[str, str], said: str) -> None:
    refused = chainrule("serve", *arguments, **environment)
    assert refused.returncode != 0 and said in refused.stderr and "Traceback" not in refused.stderr


def test_a_server_that_is_told_to_stop_while_it_starts_ends_cleanly() -> None:
    """The first process of a container, which nothing else would end, is told so when its server is not there yet."""
    told = "import app.server, os, signal; app.server.serve = lambda *_: os.kill(os.getpid(), signal.SIGTERM)"
    run = [sys.executable, "-c", f"{told}; from app.cli import main; main(['serve'])"]
    assert subprocess.run(run, cwd=ROOT, timeout=30).returncode == 0


def test_options_go_before_the_environment() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "app", "--port", "0", "--host", "127.0.0.1"],
        cwd=ROOT,
        env={**os.environ, "PORT": "1", "HOST": "192.0.2.1"},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    assert re.search(r"running on http://127\.0\.0\.1:\d+", process.stderr.readline())
    process.terminate()
    process.communicate(timeout=20)


@pytest.mark.parametrize("shell", COMPLETED)
def test_completion(shell: str, tmp_path: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    program = tmp_path / "chainrule"
    program.write_text(f'#!/bin/sh\ncd "{ROOT}" && exec "{sys.executable}" -m app.cli "$@"\n')
    program.chmod(0o755)
    textbooks = [name for name in EXAMPLES if name.startswith("text")]
    for words, expected in (("chainrule exa", ["example"]), ("chainrule example text", textbooks)):
        text = COMPLETED[shell].format(words=words, last=len(words.split()) - 1, line=words)
        path = f"{tmp_path}:{os.environ['PATH']}"
        said = subprocess.run([shell, "-c", text], env={**os.environ, "PATH": path}, capture_output=True, text=True)
        assert sorted(line.split("\t")[0] for line in said.stdout.splitlines()) == sorted(expected), said


def test_completion_of_zsh_which_needs_a_terminal() -> None:
    script = chainrule("completion", "zsh").stdout
    assert "#compdef chainrule" in script and "_CHAINRULE_COMPLETE=zsh_complete" in script
    if shutil.which("zsh"):
        assert subprocess.run(["zsh", "-n"], input=script, capture_output=True, text=True, check=False).stderr == ""
    asked = {"_CHAINRULE_COMPLETE": "zsh_complete", "COMP_WORDS": "chainrule example del", "COMP_CWORD": "2"}
    assert chainrule(**asked).stdout.splitlines()[:2] == ["plain", "delta_rule"]


def test_a_setting_that_is_none_is_told() -> None:
    of_kubernetes = {"CHAINRULE_PORT": "tcp://10.0.0.1", "CHAINRULE_PORT_80_TCP": "1", "CHAINRULE_SERVICE_HOST": "1"}
    told = chainrule("serve", CHAINRULE_MAX_BODY_BYTE="5", HOST="no.address.invalid", **of_kubernetes)
    assert "CHAINRULE_MAX_BODY_BYTE, which is no setting. Did you mean 'CHAINRULE_MAX_BODY_BYTES'?" in told.stderr
    assert "CHAINRULE_PORT" not in told.stderr and "CHAINRULE_SERVICE" not in told.stderr
    told = chainrule("serve", CHAINRULE_PORT="9000", CHAINRULE_HOST="0.0.0.0", HOST="no.address.invalid")
    for name in ("PORT", "HOST"):
        assert f"CHAINRULE_{name}, which is no setting. Did you mean '{name}'?" in told.stderr
