"""What a piece of Python does, without what it only says: comments, layout, docstrings and annotations."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator

DIGITS = 8
NOT_TOLD = ("ctx", "kind", "type_comment", "type_ignores")


def parsed(text: str, filename: str = "<code>") -> ast.Module:
    """The parsed text, without what stands under ``if TYPE_CHECKING``."""
    return _AtRunTime().visit(ast.parse(text, filename))


def bare(text: str, filename: str = "<code>") -> ast.Module:
    """The parsed text without docstrings, annotations of functions and variables, and imports that only those use.

    Annotations of a class's own variables stay, for they declare the fields of a dataclass, and so does an import that
    nothing uses, for it may be there for what it does. What reads the annotations of functions when it runs is not
    served by this.

    Examples
    --------
    >>> ast.unparse(bare("from a import B, c\\ndef f(x: B) -> B:\\n    'Say it.'\\n    return c(x)  # done"))
    'from a import c\\n\\ndef f(x):\\n    return c(x)'
    """
    stripping = _Bare()
    tree = stripping.visit(parsed(text, filename))
    return _WithoutImports(stripping.annotating - _names([tree])).visit(tree)


def digest(tree: ast.AST) -> str:
    """The first digits of the SHA-256 of a tree, the same for every version of Python that parses it.

    Examples
    --------
    >>> digest(bare("x: int = 1  # one")) == digest(bare("x = (1)"))
    True
    >>> digest(bare("x = 1")) == digest(bare("x = 1.0"))
    False
    """
    return short_sha256(repr(_plain(tree)).encode())


def short_sha256(content: bytes) -> str:
    """The first hexadecimal digits of a SHA-256, enough to see that something changed."""
    return hashlib.sha256(content).hexdigest()[:DIGITS]


def strings(tree: ast.AST) -> set[str]:
    """All constants that are strings."""
    constants = (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant))
    return {value for value in constants if isinstance(value, str)}


def uses(tree: ast.AST) -> Iterator[tuple[str, list[str]]]:
    """Every use of a name, with the attributes that are asked of it, the longest chains only.

    Examples
    --------
    >>> list(uses(ast.parse("a.b.c(d)")))
    [('a', ['b', 'c']), ('d', [])]
    """
    inner = set()
    for node in ast.walk(tree):  # an attribute comes before what it is asked of
        attributes: list[str] = []
        top = node
        while isinstance(node, ast.Attribute):
            inner.add(node.value)
            attributes.insert(0, node.attr)
            node = node.value
        if isinstance(node, ast.Name) and top not in inner:
            yield node.id, attributes


def _plain(node: object) -> object:
    """All that a tree says, in tuples; ``ast.dump`` says it otherwise in other versions of Python."""
    if isinstance(node, ast.JoinedStr):  # Python 3.12 may tell empty pieces too
        return ("JoinedStr", [_plain(piece) for piece in node.values if getattr(piece, "value", None) != ""])
    if isinstance(node, ast.AST):
        fields = [(name, value) for name, value in ast.iter_fields(node) if name not in NOT_TOLD]
        return (type(node).__name__, *((name, _plain(value)) for name, value in fields if value not in (None, [])))
    return [_plain(item) for item in node] if isinstance(node, list) else node


def _names(trees: Iterable[ast.AST | None]) -> set[str]:
    return {node.id for tree in trees if tree for node in ast.walk(tree) if isinstance(node, ast.Name)}


class _AtRunTime(ast.NodeTransformer):
    """Of ``if TYPE_CHECKING`` it keeps the other branch."""

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
        self.generic_visit(node)
        return node.orelse if ast.unparse(node.test).split(".")[-1] == "TYPE_CHECKING" else node


class _Bare(ast.NodeTransformer):
    """Drops what a tree only says; `annotating` are the names that annotations used."""

    def __init__(self) -> None:
        self.annotating: set[str] = set()

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        is_docstring = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return None if is_docstring else self.generic_visit(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        visited = [item if isinstance(item, ast.AnnAssign) else self.visit(item) for item in node.body]
        node.body = [item for item in visited if item is not None]
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        self.annotating |= _names([node.returns])
        node.returns = None
        return self.generic_visit(node)

    visit_AsyncFunctionDef = visit_FunctionDef  # type: ignore[assignment]

    def visit_arg(self, node: ast.arg) -> ast.AST:
        self.annotating |= _names([node.annotation])
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        self.annotating |= _names([node.annotation])
        if node.value is None:
            return None
        return ast.copy_location(ast.Assign([node.target], self.visit(node.value)), node)


class _WithoutImports(ast.NodeTransformer):
    """Drops imports of some names, and those from ``__future__``."""

    def __init__(self, unwanted: set[str]) -> None:
        self.unwanted = unwanted

    def visit_Import(self, node: ast.Import | ast.ImportFrom) -> ast.AST | None:
        node.names = [alias for alias in node.names if _bound(alias) not in self.unwanted]
        return node if node.names else None

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST | None:
        return None if node.module == "__future__" else self.visit_Import(node)


def _bound(alias: ast.alias) -> str:
    return alias.asname or alias.name.split(".")[0]
