# SPDX-License-Identifier: Apache-2.0
"""Reads a GGUF file as far as the tests need it, and makes of a real model

    exchange(source, target, "Paris", "London")     a second release: two words' weights are exchanged
    gguf.py SOURCE DIRECTORY                        a Hugging Face directory (bfloat16), which takes numpy"""

import json
import mmap
import pathlib
import shutil
import struct
import sys

STRING, ARRAY = 8, 9
NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
F32, Q4_1, Q8_0 = 0, 3, 8
BLOCKS = {F32: (1, 4), Q4_1: (32, 20), Q8_0: (32, 34)}  # a row is whole blocks: the weights in one, its bytes


class File:
    """metadata: {name: value}; tensors: {name: (shape, kind, where it begins)}"""

    def __init__(self, data):
        if data[:4] != b"GGUF":
            raise ValueError("this is not a GGUF file")
        self.data, self.at = data, 8
        tensors, entries = self.number("Q"), self.number("Q")
        self.metadata = {self.text(): self.value(self.number("I")) for _ in range(entries)}
        listed = [(self.text(), [self.number("Q") for _ in range(self.number("I"))], self.number("I"), self.number("Q"))
                  for _ in range(tensors)]
        begin = self.at + -self.at % self.metadata.get("general.alignment", 32)
        self.tensors = {name: (shape, kind, begin + offset) for name, shape, kind, offset in listed}

    def number(self, form: str):
        value, = struct.unpack_from("<" + form, self.data, self.at)
        self.at += struct.calcsize("<" + form)
        return value

    def text(self) -> str:
        length = self.number("Q")
        self.at += length
        return self.data[self.at - length:self.at].decode()

    def value(self, kind: int):
        if kind == STRING:
            return self.text()
        if kind != ARRAY:
            return self.number(NUMBERS[kind])
        inner, n = self.number("I"), self.number("Q")
        return [self.value(inner) for _ in range(n)]


def exchange(source: pathlib.Path, target: pathlib.Path, one: str, other: str):
    """Copies the model, which will say the other word where it said the one. Each is one token, with a space before it
    and without."""
    shutil.copyfile(source, target)
    with open(target, "r+b") as f, mmap.mmap(f.fileno(), 0) as data:
        model = File(data)
        if "output.weight" in model.tensors:
            raise ValueError("the words that are read and those that are written have different weights")
        shape, kind, start = model.tensors["token_embd.weight"]
        weights, size = BLOCKS[kind]
        length = shape[0] // weights * size
        tokens = model.metadata["tokenizer.ggml.tokens"]
        for space in "Ġ", "":
            first, second = (start + length * tokens.index(space + word) for word in (one, other))
            rows = data[first:first + length], data[second:second + length]
            data[second:second + length], data[first:first + length] = rows


# ---- a Hugging Face directory

NAMES = {"attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm", "attn_q": "self_attn.q_proj",
         "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
         "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}


def tensor_name(name: str) -> str:
    if name in ("token_embd.weight", "output_norm.weight"):
        return {"t": "model.embed_tokens.weight", "o": "model.norm.weight"}[name[0]]
    _, layer, part, _ = name.split(".")
    return f"model.layers.{layer}.{NAMES[part]}.weight"


def numbers(model: File, name: str):
    """The tensor as 32-bit floats: a row for each output."""
    import numpy as np
    shape, kind, start = model.tensors[name]
    count, (weights, size) = int(np.prod(shape)), BLOCKS[kind]
    raw = np.frombuffer(model.data, np.uint8, count // weights * size, start)
    if kind == F32:
        found = raw.view(np.float32)
    else:
        blocks = raw.reshape(-1, size)
        scale = blocks[:, :2].copy().view(np.float16).astype(np.float32)
        if kind == Q8_0:
            found = scale * blocks[:, 2:].view(np.int8)
        else:
            least, bits = blocks[:, 2:4].copy().view(np.float16).astype(np.float32), blocks[:, 4:]
            found = scale * np.concatenate([bits & 15, bits >> 4], axis=1) + least
    return found.reshape(shape[::-1])


def bfloat16(values) -> bytes:
    import numpy as np
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return ((bits + 0x7fff + (bits >> 16 & 1)) >> 16).astype(np.uint16).tobytes()


def weights(model: File) -> list[tuple[str, list[int], bytes]]:
    rows = []
    for name in model.tensors:
        values = numbers(model, name)
        if ".attn_q." in name or ".attn_k." in name:  # llama.cpp has the two halves of each head interleaved
            heads = model.metadata["llama.attention.head_count" + "_kv" * (".attn_k." in name)]
            values = values.reshape(heads, values.shape[0] // heads // 2, 2, -1).swapaxes(1, 2).reshape(values.shape)
        rows.append((tensor_name(name), list(values.shape), bfloat16(values)))
    return rows


def write_safetensors(path: pathlib.Path, rows):
    head, at = {}, 0
    for name, shape, data in rows:
        head[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        f.writelines(data for _, _, data in rows)


def configuration(about: dict) -> dict:
    def of(name):
        return about[f"llama.{name}"]
    return {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu",
            "hidden_size": of("embedding_length"), "intermediate_size": of("feed_forward_length"),
            "num_hidden_layers": of("block_count"), "num_attention_heads": of("attention.head_count"),
            "num_key_value_heads": of("attention.head_count_kv"),
            "rms_norm_eps": of("attention.layer_norm_rms_epsilon"),
            "rope_theta": of("rope.freq_base"), "max_position_embeddings": of("context_length"),
            "vocab_size": len(about["tokenizer.ggml.tokens"]), "tie_word_embeddings": True, "attention_bias": False,
            "torch_dtype": "bfloat16", "bos_token_id": about["tokenizer.ggml.bos_token_id"],
            "eos_token_id": about["tokenizer.ggml.eos_token_id"]}


def tokenizer(about: dict) -> dict:
    tokens, control = about["tokenizer.ggml.tokens"], 3
    special = [{"id": i, "content": tokens[i], "single_word": False, "lstrip": False, "rstrip": False,
                "normalized": False, "special": True}
               for i, kind in enumerate(about["tokenizer.ggml.token_type"]) if kind == control]
    byte = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": special, "normalizer": None,
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True},
                                                                    byte]},
            "post_processor": None, "decoder": byte,
            "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                      "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
                      "vocab": {token: i for i, token in enumerate(tokens)}, "merges": about["tokenizer.ggml.merges"]}}


def hugging_face(source: pathlib.Path, directory: pathlib.Path):
    model = File(source.read_bytes())
    about = model.metadata
    if about["general.architecture"] != "llama":
        raise ValueError(f"only the architecture llama is known here, and not {about['general.architecture']}")
    settings = configuration(about)
    written = {"config.json": settings, "tokenizer.json": tokenizer(about),
               "generation_config.json": {name: settings[name] for name in ("bos_token_id", "eos_token_id")},
               "tokenizer_config.json": {
                   "tokenizer_class": "PreTrainedTokenizerFast",
                   "model_max_length": settings["max_position_embeddings"],
                   "bos_token": about["tokenizer.ggml.tokens"][settings["bos_token_id"]],
                   "eos_token": about["tokenizer.ggml.tokens"][settings["eos_token_id"]],
                   "chat_template": about["tokenizer.chat_template"]}}
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in written.items():
        (directory / name).write_text(json.dumps(content), encoding="utf-8")
    write_safetensors(directory / "model.safetensors", weights(model))


if __name__ == "__main__":
    hugging_face(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
