"""What a bundle keeps of a text model beside its trained weights, and how the model comes back.

With LoRA: the adapters alone are in the bundle; the base model is named, with its files' sha256, and must be found
where it was, in a directory or the hub's local cache. Loading a bundle never downloads. Without LoRA all weights are in
the bundle, and base/ holds the configuration and the tokenizer: nothing else is needed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from policy.prompt.text import TEMPLATE_VERSION
from policy.text.base_model import BaseModelError, blank_base_model, configuration_files, find_base_model, fingerprint
from policy.text.model import TextModel, new_text_model
from policy.text.text_config import TextConfig

BASE_FOLDER = "base"


def base_document(model: TextModel) -> dict[str, Any]:
    """The base model's entry in bundle.json."""
    return {"sha256": model.base_sha256, "config": json.loads(model.lm.config.to_json_string(use_diff=False))}


def base_files(model: TextModel) -> dict[str, bytes]:
    """Files that the bundle needs beside the weights, by name."""
    if model.config.lora_rank:
        return {}
    return {f"{BASE_FOLDER}/{file.name}": file.read_bytes() for file in configuration_files(model.folder)}


def open_text_model(
    config: TextConfig, layout: Mapping[str, Any], base: Mapping[str, Any], files: set[str], folder: Path
) -> TextModel:
    """The model whose trained weights are yet to be filled in. files: those in the bundle's `folder` that were checked.

    Raises BaseModelError, ValueError, KeyError.
    """
    if layout["template"] != TEMPLATE_VERSION:
        raise ValueError(f"prompt template is {layout['template']!r}, expected {TEMPLATE_VERSION}")
    if not config.lora_rank:
        lying = {f"{BASE_FOLDER}/{file.name}" for file in (folder / BASE_FOLDER).glob("*")}
        if lying != files:
            raise ValueError(f"{BASE_FOLDER} holds {sorted(lying ^ files)[0]!r} only on one side of the description")
        return TextModel(config, blank_base_model(folder / BASE_FOLDER))
    found = fingerprint(find_base_model(config.base_model, local_files_only=True))
    if found != base["sha256"]:
        raise BaseModelError(f"base model {config.base_model!r}: sha256 is {found}, expected {base['sha256']}")
    return new_text_model(config, local_files_only=True)
