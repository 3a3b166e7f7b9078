"""A pretrained causal language model and its tokenizer, by directory or hub id: safetensors only, no foreign code.

A hub id is first brought to a local directory, so that there is one way to load and one place where a network can fail.
Whatever is wrong becomes an error of one line.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from policy.errors import UserMistake

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

CONFIG_FILE = "config.json"
WANTED_FILES = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]
UNWANTED_FILES = ["original/*", "consolidated*", "onnx/*"]
"""The same weights again, in other formats."""
CONFIGURATION_FILES = [CONFIG_FILE, "tokenizer*", "special_tokens_map.json", "vocab.json", "merges.txt"]
CHUNK_BYTES = 1 << 24


class BaseModelError(UserMistake):
    """A base model that cannot be had or used; one line."""


class BaseModel(NamedTuple):
    """What was loaded."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    folder: Path


def find_base_model(name: str, *, local_files_only: bool = False) -> Path:
    """The directory of `name`, a directory or a hub id; downloaded if need be. Raises BaseModelError."""
    folder = Path(name).expanduser()
    if not name or not folder.is_dir():  # Path("") is the working directory
        if not name or name.startswith((".", "/", "~")) or name.count("/") > 1:
            raise BaseModelError(f"base model {name!r}: no such directory, expected one or a hub id (OWNER/MODEL)")
        folder = _snapshot(name, local_files_only)
    if not (folder / CONFIG_FILE).is_file():
        raise BaseModelError(
            f"base model {name!r}: {folder} holds no {CONFIG_FILE}, expected a transformers checkpoint"
        )
    if not any(folder.glob("*.safetensors")):
        raise BaseModelError(f"base model {name!r}: {folder} holds no *.safetensors; other formats run foreign code")
    return folder


def _snapshot(name: str, local_files_only: bool) -> Path:
    from huggingface_hub import errors as hub
    from huggingface_hub import snapshot_download

    reason: str
    try:
        folder = snapshot_download(  # nosec B615 # whoever trains names it; weights alone, none of its code
            name,
            local_files_only=local_files_only,
            allow_patterns=WANTED_FILES,
            ignore_patterns=UNWANTED_FILES,
        )
        return Path(folder)
    except hub.GatedRepoError as error:
        cause: Exception = error
        reason = "is gated: accept its licence on its hub page, then log in with `hf auth login` or set HF_TOKEN"
    except hub.RepositoryNotFoundError as error:
        cause, reason = error, "is neither a directory nor a model on the hub (or it is private: set HF_TOKEN)"
    except (hub.LocalEntryNotFoundError, hub.OfflineModeIsEnabled) as error:
        how = "downloads are switched off" if local_files_only else "the hub cannot be reached"
        cause, reason = error, f"is no directory and not in the local cache, and {how}"
    except hub.HFValidationError as error:
        cause, reason = error, "is neither a directory nor a hub id (OWNER/MODEL)"
    except (OSError, ValueError) as error:  # the hub's other HTTP errors are OSErrors
        cause, reason = error, _first_line(error)
    raise BaseModelError(f"base model {name!r}: {reason}") from cause


def load_base_model(name: str, *, dtype: torch.dtype = torch.float32, local_files_only: bool = False) -> BaseModel:
    """Load weights and tokenizer. Raises BaseModelError."""
    folder = find_base_model(name, local_files_only=local_files_only)
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        with _no_progress_bar():
            loaded: Any = AutoModelForCausalLM.from_pretrained(  # nosec B615 # a folder here
                folder,
                dtype=dtype,
                local_files_only=True,
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
            )
            tokenizer = AutoTokenizer.from_pretrained(  # nosec B615 # a folder here
                folder, local_files_only=True, trust_remote_code=False
            )
    except Exception as error:  # a checkpoint can be broken in any way, and each library has its own errors
        raise BaseModelError(f"base model {name!r}: {type(error).__name__}: {_first_line(error)}") from error
    model, found = loaded
    wrong = sorted(found["missing_keys"]) + sorted(str(key) for key in found["mismatched_keys"])
    if wrong:
        raise BaseModelError(f"base model {name!r}: {len(wrong)} weights are missing or misshapen, first {wrong[0]}")
    return BaseModel(model, tokenizer, folder)


def blank_base_model(folder: Path) -> BaseModel:
    """A model of `folder`'s configuration, its weights yet to come, in float32. Raises BaseModelError."""
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    try:
        config = AutoConfig.from_pretrained(  # nosec B615 # a folder here
            folder, local_files_only=True, trust_remote_code=False
        )
        model: Any = AutoModelForCausalLM.from_config(config, dtype=torch.float32, trust_remote_code=False)
        tokenizer = AutoTokenizer.from_pretrained(  # nosec B615 # a folder here
            folder, local_files_only=True, trust_remote_code=False
        )
    except Exception as error:  # as above
        raise BaseModelError(f"base model {str(folder)!r}: {type(error).__name__}: {_first_line(error)}") from error
    return BaseModel(model, tokenizer, folder)


def configuration_files(folder: Path) -> list[Path]:
    """What `blank_base_model` reads."""
    return sorted(file for pattern in CONFIGURATION_FILES for file in folder.glob(pattern))


def fingerprint(folder: Path) -> str:
    """sha256 over all that decides a base model's output: its configuration, tokenizer and weights."""
    digest = hashlib.sha256()
    for file in sorted((*folder.glob("*.safetensors"), *folder.glob("tokenizer*"), folder / CONFIG_FILE)):
        digest.update(f"{file.name} {file.stat().st_size}\n".encode())
        with file.open("rb") as stream:
            while chunk := stream.read(CHUNK_BYTES):
                digest.update(chunk)
    return digest.hexdigest()


@contextmanager
def _no_progress_bar() -> Iterator[None]:
    """Loading a checkpoint is no news to whoever reads the terminal or the JSON."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
