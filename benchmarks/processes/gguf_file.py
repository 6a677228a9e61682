"""Writes the weights of a Llama model as the F32 GGUF file that llama.cpp reads.

Without a vocabulary: token ids go in and come out. It needs the `gguf` package and numpy.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf  # type: ignore[import-not-found]
import numpy as np

Array = np.ndarray[Any, np.dtype[np.float32]]


def write(folder: Path, target: Path) -> None:
    """Write the model in `folder`, as transformers saves it, to `target`.

    Raises:
        SystemExit: it is not a plain Llama, or not in fp32.
    """
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    refuse_others(config)
    layers, heads = config["num_hidden_layers"], config["num_attention_heads"]
    groups = config["num_key_value_heads"]
    size = config.get("head_dim") or config["hidden_size"] // heads
    writer = gguf.GGUFWriter(target, "llama")
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_vocab_size(config["vocab_size"])
    writer.add_tokenizer_model("none")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(layers)
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(groups)
    writer.add_key_length(size)
    writer.add_value_length(size)
    writer.add_rope_dimension_count(size)
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, layers)
    for name, weight in tensors(folder / "model.safetensors"):
        if "q_proj" in name:
            weight = neighbours(weight, heads)
        elif "k_proj" in name:
            weight = neighbours(weight, groups)
        writer.add_tensor(names.get_name(name, try_suffixes=(".weight",)), weight)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def refuse_others(config: dict[str, Any]) -> None:
    """Exit unless this is a Llama without biases and with plain rotary positions."""
    rope = config.get("rope_parameters") or {}
    if (
        config["model_type"] != "llama"
        or rope.get("rope_type") != "default"
        or config.get("attention_bias")
        or config.get("mlp_bias")
    ):
        raise SystemExit(
            "only a Llama without biases and with plain rotary positions is written for llama.cpp; "
            "leave llamacpp out of --peers"
        )


def tensors(path: Path) -> Iterator[tuple[str, Array]]:
    """Names and weights in a safetensors file: a length, a header in JSON, then the bytes."""
    data = np.memmap(path, mode="r")
    start = 8 + int(data[:8].view("<u8")[0])
    for name, one in json.loads(bytes(data[8:start])).items():
        if name == "__metadata__":
            continue
        if one["dtype"] != "F32":
            raise SystemExit(f"{name} is {one['dtype']}, not F32")
        first, last = one["data_offsets"]
        yield name, np.array(data[start + first:start + last]).view("<f4").reshape(one["shape"])


def neighbours(weight: Array, heads: int) -> Array:
    """Rows of a query or key projection in the order of llama.cpp.

    It turns neighbouring rows of a head together, transformers row i and row i + half the head.
    """
    rows, columns = weight.shape
    halves = weight.reshape(heads, 2, rows // heads // 2, columns)
    return halves.swapaxes(1, 2).reshape(rows, columns)
