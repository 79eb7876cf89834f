"""Hostile folders by the hundred: a name and a function that spoils a copy."""

import copy
import json
import os
import random
import shutil

import yaml

from tests.attacks.model_and_run_folders import HEAD, SIZES, write_hyperparams

FILES = (
    "hyperparams.yaml",
    "head.safetensors",
    "label_encoder.txt",
    "encoder/config.json",
    "encoder/preprocessor_config.json",
    "encoder/model.safetensors",
)
WRONG_VALUES = {
    "null": None,
    "text": "x",
    "empty text": "",
    "list": [1, "x"],
    "mapping": {"a": {"b": 1}},
    "zero": 0,
    "negative": -1,
    "fraction": 0.5,
    "true": True,
    "huge": 10**12,
    "million": 10**6,
    "nan": float("nan"),
}


def replace(path, how):
    """Put something in the place of a file."""
    content = path.read_bytes()
    path.unlink()
    if how == "empty":
        path.write_bytes(b"")
    elif how == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif how == "one byte short":
        path.write_bytes(content[:-1])
    elif how == "noise":
        path.write_bytes(random.Random(0).randbytes(5000))
    elif how == "zeros":
        path.write_bytes(bytes(5000))
    elif how == "a folder":
        path.mkdir()
    elif how == "a named pipe":
        os.mkfifo(path)
    elif how == "a dangling link":
        path.symlink_to("nowhere")
    elif how == "a circular link":
        path.symlink_to(path.name)
    elif how == "a link to a device":
        path.symlink_to("/dev/zero")
    elif how == "a link out of the folder":
        outside = path.parents[2 if path.parent.name == "encoder" else 1]
        (outside / f"outside-{path.name}").write_bytes(content)
        path.symlink_to(outside / f"outside-{path.name}")
    elif how == "sparse, a terabyte":
        path.touch()
        os.truncate(path, 2**40)
    elif how == "nested deeply":
        path.write_bytes(b"[" * 100_000)
    elif how == "UTF-16":
        path.write_bytes(content[:10_000].decode("latin-1").encode("utf-16"))


def _file_attacks():
    """Every file is replaced in every way."""
    ways = (
        ("missing", "empty", "truncated", "one byte short", "noise", "zeros")
        + ("a folder", "a named pipe", "a dangling link", "a circular link")
        + ("a link to a device", "a link out of the folder", "nested deeply")
        + ("sparse, a terabyte", "UTF-16")
    )
    for name in FILES:
        for how in ways:
            yield (
                f"{name} is {how}",
                lambda folder, name=name, how=how: replace(folder / name, how),
            )


def _hyperparams_attacks():
    """Every key of hyperparams.yaml is left out or has a wrong value."""
    keys = ("encoder_hub", "encoder_files", "members", "head", "sizes")
    keys = (*keys, "whisper_window")
    for key in keys:
        for word, value in WRONG_VALUES.items():
            yield (
                f"{key} is {word}",
                lambda folder, key=key, value=value: write_hyperparams(
                    folder / "hyperparams.yaml", **{key: value}
                ),
            )
    for key in SIZES:
        for word, value in WRONG_VALUES.items():
            sizes = SIZES | {key: value}
            yield (
                f"sizes: {key} is {word}",
                lambda folder, sizes=sizes: write_hyperparams(
                    folder / "hyperparams.yaml", sizes=sizes
                ),
            )


def _places(value, path=()):
    """Yield the path of every value in a tree."""
    yield path
    if isinstance(value, dict):
        for key in value:
            yield from _places(value[key], (*path, key))


def _set(tree, path, value):
    """Return a tree with another value at a path."""
    tree = copy.deepcopy(tree)
    place = tree
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return tree


def _head_attacks():
    """Every value of the head's graph is replaced."""
    for path in _places(HEAD):
        if not path:
            continue
        for word, value in WRONG_VALUES.items():
            head = _set(HEAD, path, value)
            yield (
                f"head: {'.'.join(path)} is {word}",
                lambda folder, head=head: write_hyperparams(
                    folder / "hyperparams.yaml", head=head
                ),
            )


def _config_attacks(encoder):
    """Every value of config.json and preprocessor_config.json is replaced."""
    for name in ("config.json", "preprocessor_config.json"):
        content = json.loads((encoder / name).read_text())
        for key in content:
            for word, value in WRONG_VALUES.items():

                def attack(folder, name=name, key=key, value=value):
                    path = folder / "encoder" / name
                    changed = json.loads(path.read_text()) | {key: value}
                    path.write_text(json.dumps(changed))

                yield f"{name}: {key} is {word}", attack


def all_attacks(encoder):
    """Return name -> function that spoils a copy of a model's folder."""
    return dict(
        [
            *_file_attacks(),
            *_hyperparams_attacks(),
            *_head_attacks(),
            *_config_attacks(encoder),
        ]
    )


def chosen_attacks(encoder, seed=0):
    """Return the attacks on files, and a tenth of all others."""
    draw = random.Random(seed)
    return {
        name: attack
        for name, attack in all_attacks(encoder).items()
        if name.startswith(FILES) or draw.random() < 0.1
    }


def spoil(whole, target, attack):
    """Copy a folder and attack the copy."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(whole, target)
    attack(target)
    return target


def bomb(levels=12, width=10):
    """Return YAML whose aliases stand for ten to the twelve values."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    for level in range(1, levels):
        parts = ", ".join([f"*a{level - 1}"] * width)
        lines.append(f"a{level}: &a{level} [{parts}]")
    return "\n".join(lines)


def merge_bomb(levels=30):
    """Return YAML whose merge keys double at every level."""
    lines = ["m0: &m0 {k0: 1}"]
    for level in range(1, levels):
        before = f"*m{level - 1}"
        lines.append(f"m{level}: &m{level}\n  <<: [{before}, {before}]")
    return "\n".join(lines)


def plain(values):
    """Return values as YAML."""
    return yaml.safe_dump(values, sort_keys=False)
