"""YAML with its places: every value knows its line and dotted key, so that a fault can name them.

It knows nothing of what an app's file means.
"""

import math
from collections.abc import Sequence

import yaml
from msgspec import Struct

from kaiwa.domain.message import JsonValue
from kaiwa.domain.text import clean
from kaiwa.errors import OperatorError

_LARGEST_FILE = 1_000_000
_LARGEST_EXPANDED = 4_000_000
_NODE_SIZE = 20
_DEEPEST = 50
_TAG = "tag:yaml.org,2002:"
_SCALARS = frozenset(_TAG + kind for kind in ("int", "float", "bool", "null"))
_TEXTS = frozenset(_TAG + kind for kind in ("str", "timestamp", "value", "merge"))

Value = str | int | float | bool | None | list["Node"] | dict[str, "Node"]


class Node(Struct, frozen=True):
    """A value in the file."""

    file: str
    line: int
    key: str
    """Dotted, from the top; items of a list by their number, from 0."""
    value: Value
    raw: str = ""
    """A scalar as it is written."""

    def fault(self, what: str) -> OperatorError:
        """The error that says what is wrong here."""
        return OperatorError(f"{self.file}:{self.line}: {self.key}: {what}")

    def text(self) -> str:
        """Numbers, dates and the like are taken as they are written."""
        if self.value is None or isinstance(self.value, list | dict):
            raise self.fault("must be text")
        return clean(self.value if isinstance(self.value, str) else self.raw)

    def flag(self) -> bool:
        if isinstance(self.value, bool):
            return self.value
        if isinstance(self.value, str) and self.value.lower() in ("true", "false"):
            return self.value.lower() == "true"
        raise self.fault("must be true or false")

    def whole(self, least: int) -> int:
        """An integer, or text that is one."""
        value = self.value
        if isinstance(value, str) and len(value) < 10 and value.isascii() and value.isdigit():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise self.fault(f"must be a whole number of at least {least}")
        return value

    def choice(self, options: Sequence[str]) -> str:
        text = self.text()
        if text not in options:
            raise self.fault(f"must be one of {', '.join(options)}; it is {text!r}")
        return text

    def items(self) -> list["Node"]:
        if not isinstance(self.value, list):
            raise self.fault("must be a list")
        return self.value

    def mapping(self) -> dict[str, "Node"]:
        if not isinstance(self.value, dict):
            raise self.fault("must be a block of keys and values")
        return self.value

    def json(self) -> JsonValue:
        """The value with all that is in it."""
        value = self.value
        if isinstance(value, list):
            return [item.json() for item in value]
        if isinstance(value, dict):
            return {name: item.json() for name, item in value.items()}
        if isinstance(value, float) and not math.isfinite(value):
            raise self.fault("must be a finite number")
        return clean(value) if isinstance(value, str) else value


class Block:
    """The keys of one mapping; each is taken once, and what nobody took can be told."""

    def __init__(self, node: Node, notes: list[str]) -> None:
        """`notes` collects what the operator should know and is no fault."""
        self.node = node
        self.notes = notes
        self._nodes = node.mapping()
        self._left = dict(self._nodes)

    def __contains__(self, key: str) -> bool:
        return key in self._nodes

    def find(self, key: str) -> Node | None:
        """None when the key is missing or null."""
        self._left.pop(key, None)
        node = self._nodes.get(key)
        return None if node is None or node.value is None else node

    def need(self, key: str) -> Node:
        """Raises the fault `is missing`."""
        node = self.find(key)
        if node is None:
            raise self._place(key).fault("is missing")
        return node

    def text(self, key: str, default: str = "") -> str:
        node = self.find(key)
        return default if node is None else node.text()

    def flag(self, key: str, default: bool) -> bool:
        node = self.find(key)
        return default if node is None else node.flag()

    def items(self, key: str) -> list[Node]:
        """Empty when the key is missing."""
        node = self.find(key)
        return [] if node is None else node.items()

    def block(self, key: str) -> "Block":
        """An empty one when the key is missing."""
        return Block(self.find(key) or self._place(key), self.notes)

    def note(self, key: str, what: str) -> None:
        """Tell the operator about one of the keys."""
        self.notes.append(f"{self._place(key).key}: {what}")

    def note_rest(self, what: str = "unknown, ignored") -> None:
        """Tell about every key that nobody has taken."""
        for key in self._left:
            self.note(key, what)

    def refuse_rest(self) -> None:
        """Raises the fault of the first key that nobody has taken."""
        for node in self._left.values():
            raise node.fault("is not a key of this block")

    def _place(self, key: str) -> Node:
        node = self._nodes.get(key)
        line = node.line if node else self.node.line
        return Node(self.node.file, line, _dotted(self.node.key, key), {})


def load(text: str, file: str) -> Node:
    """The file's one document.

    Raises `OperatorError` for what is no YAML, has a key twice, or is too large or too deep.
    """
    if len(text) > _LARGEST_FILE:
        raise OperatorError(f"{file}:1: (file): is larger than {_LARGEST_FILE} characters")
    try:
        loader = yaml.SafeLoader(text)
        root = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise OperatorError(f"{file}:{line}: (file): is not YAML: {error.problem}") from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise OperatorError(f"{file}:{line}: (file): has a character YAML forbids") from error
    except RecursionError as error:
        raise OperatorError(f"{file}:1: (file): is nested too deeply") from error
    if root is None:
        raise OperatorError(f"{file}:1: (file): is empty")
    if not isinstance(root, yaml.MappingNode):
        raise OperatorError(f"{file}:1: (file): must be a block of keys and values")
    return _Reader(file, loader).read(root, "", 1, 0)


class _Reader:
    """Turns the parser's nodes into ours; a repeated alias counts each time."""

    def __init__(self, file: str, loader: yaml.SafeLoader) -> None:
        self._file = file
        self._loader = loader
        self._room = _LARGEST_EXPANDED

    def read(self, node: yaml.Node, key: str, line: int, depth: int) -> Node:
        place = Node(self._file, line, key or "(file)", None)
        self._room -= _NODE_SIZE
        if depth > _DEEPEST:
            raise place.fault("is nested too deeply")
        value: Value
        raw = ""
        if isinstance(node, yaml.MappingNode):
            value = self._mapping(node, key, depth)
        elif isinstance(node, yaml.SequenceNode):
            value = [
                self.read(item, _dotted(key, str(i)), item.start_mark.line + 1, depth + 1)
                for i, item in enumerate(node.value)
            ]
        else:
            raw = str(node.value)
            self._room -= len(raw)
            value = self._scalar(node, place)
        if self._room < 0:
            raise place.fault("the file grows too large through its aliases")
        return Node(self._file, line, key, value, raw)

    def _mapping(self, node: yaml.MappingNode, key: str, depth: int) -> dict[str, Node]:
        found: dict[str, Node] = {}
        for name_node, value_node in node.value:
            line = name_node.start_mark.line + 1
            if not isinstance(name_node, yaml.ScalarNode) or name_node.tag == _TAG + "merge":
                place = Node(self._file, line, key or "(file)", None)
                raise place.fault("has a key that is not plain text")
            name = clean(str(name_node.value))
            child = self.read(value_node, _dotted(key, name), line, depth + 1)
            if name in found:
                raise child.fault(f"is there twice, first in line {found[name].line}")
            self._room -= len(name)
            found[name] = child
        return found

    def _scalar(self, node: yaml.Node, place: Node) -> Value:
        if node.tag in _TEXTS:
            return str(node.value)
        if node.tag not in _SCALARS:
            raise place.fault(f"the tag {node.tag} is not understood")
        try:
            value: object = self._loader.construct_object(node)  # pyright: ignore[reportUnknownMemberType]
        except (ValueError, KeyError, IndexError, OverflowError, yaml.YAMLError) as error:
            raise place.fault(f"is not a value of the kind {node.tag}") from error
        if value is None or isinstance(value, str | int | float):
            return value
        raise place.fault(f"is not a value of the kind {node.tag}")


def _dotted(parent: str, key: str) -> str:
    return f"{parent}.{key}" if parent else key
