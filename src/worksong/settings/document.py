"""A configuration file as plain data: YAML or TOML by its suffix, and nothing in it that could cost much."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

from worksong.domain.errors import ConfigError

LARGEST = 256 << 10
"""Bytes of a file."""
DEEPEST = 10
"""Levels of a document."""
MOST = 10_000
"""Values in a document, each counted as often as an alias repeats it."""
SUFFIXES = (".yaml", ".yml", ".toml")


def read_document(path: Path) -> dict[str, Any]:
    """What the file says; raises `ConfigError`."""
    if path.suffix.lower() not in SUFFIXES:
        raise ConfigError(f"{path}: a configuration is a file that ends in {', '.join(SUFFIXES)}")
    text = _text(path)
    try:
        found = _toml(text) if path.suffix.lower() == ".toml" else _yaml(text)
        _check_size(found)
    except RecursionError:
        raise ConfigError(f"{path}: it is nested more than {DEEPEST} levels deep") from None
    except ValueError as wrong:
        raise ConfigError(f"{path}: {wrong}") from wrong
    if found is None:
        return {}
    if not isinstance(found, dict) or not all(isinstance(key, str) for key in cast("dict[object, object]", found)):
        raise ConfigError(f"{path}: a configuration is made of names and values, as in name: shop")
    return cast("dict[str, Any]", found)


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
    except OSError as failure:
        raise ConfigError(f"{path} cannot be read: {failure.strerror or failure}") from failure
    if len(content) > LARGEST:
        raise ConfigError(f"{path} is larger than {LARGEST:,} bytes, which no configuration is")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as wrong:
        raise ConfigError(f"{path} is not written in UTF-8: byte {wrong.start} is wrong") from None


def _toml(text: str) -> object:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as wrong:
        raise ConfigError(f"it is no TOML: {wrong}") from None


def _yaml(text: str) -> object:
    try:
        import yaml
    except ModuleNotFoundError as missing:
        raise ConfigError("YAML needs the package 'pyyaml': pip install 'worksong[cli]'; or write TOML") from missing
    loader: Any = yaml.SafeLoader(text)
    try:
        _check_depth(yaml.parse(text, Loader=yaml.SafeLoader))
        node = loader.get_single_node()
        if node is None:
            return None
        _check_node(node, {}, ())
        return cast("object", loader.construct_document(node))
    except yaml.YAMLError as wrong:
        raise ConfigError(f"it is no YAML: {' '.join(str(wrong).split())}") from None
    finally:
        loader.dispose()


def _check_depth(events: Iterable[Any]) -> None:
    """While the text is read, because what is nested deeply takes the parser seconds."""
    depth = 0
    for event in events:
        kind = type(event).__name__
        depth += kind.endswith("StartEvent") - kind.endswith("EndEvent")
        if depth > DEEPEST + 3:  # the stream and the document are two of them
            raise RecursionError


def _check_node(node: Any, sizes: dict[int, int], above: tuple[int, ...]) -> int:
    """How many values a node stands for, those that aliases repeat counted each time; before any of them is made."""
    if id(node) in above:
        raise ConfigError("an alias stands within what it repeats")
    if len(above) > DEEPEST:
        raise RecursionError
    if id(node) not in sizes:
        children = [part for pair in node.value for part in pair] if node.id == "mapping" else node.value
        inner = [] if node.id == "scalar" else children
        if node.id == "mapping":
            _check_keys(node)
        sizes[id(node)] = 1 + sum(_check_node(child, sizes, (*above, id(node))) for child in inner)
    if sizes[id(node)] > MOST:
        raise ConfigError(f"it holds more than {MOST:,} values, those counted that aliases repeat")
    return sizes[id(node)]


def _check_keys(node: Any) -> None:
    seen: set[str] = set()
    for key, _ in node.value:
        if key.id != "scalar":
            raise ConfigError(f"line {key.start_mark.line + 1}: a name must be a text")
        if key.value in seen:
            raise ConfigError(f"line {key.start_mark.line + 1}: {key.value} is given twice")
        seen.add(key.value)


def _check_size(found: object, level: int = 0) -> None:
    if level > DEEPEST:
        raise RecursionError
    match found:
        case dict():
            for inner in cast("dict[object, object]", found).values():
                _check_size(inner, level + 1)
        case list():
            for inner in cast("list[object]", found):
                _check_size(inner, level + 1)
        case _:
            return
