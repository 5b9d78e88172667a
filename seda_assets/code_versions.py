"""What an asset's code version is: a digest of the code that decides what it computes.

That is the asset's own function and every function, class and constant that it uses, directly or
not, in its module and in the computing rooms. Comments, docstrings and layout do not count; nor do
the rooms that only carry data (`database`, `registry`, …). So a changed model marks the assets that
compute with it, and no other.
"""

import ast
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path

import dagster as dg
from dagster._core.definitions.decorators.op_decorator import DecoratedOpFunction

from seda.settings import REPOSITORY

FOLLOWED = (
    "seda_assets.assets",
    *(
        f"seda.{room}"
        for room in (
            "activity", "catalogue", "embeddings", "experiments", "feedback", "publishing",
            "recommender", "social", "vectorstore",
        )
    ),
)  # fmt: skip


def with_code_versions(
    assets: Iterable[dg.AssetsDefinition], root: Path = REPOSITORY
) -> list[dg.AssetsDefinition]:
    """The assets, each with the digest of its code (below `root`) after the version in its spec."""
    return [_versioned(each, root) for each in assets]


def _versioned(asset: dg.AssetsDefinition, root: Path) -> dg.AssetsDefinition:
    digest = code_digest(_function(asset), root)
    return asset.map_asset_specs(
        lambda spec: spec.replace_attributes(code_version=f"{spec.code_version}-{digest}")
    )


def _function(asset: dg.AssetsDefinition) -> Callable:
    compute = asset.op.compute_fn
    return inspect.unwrap(
        compute.decorated_fn if isinstance(compute, DecoratedOpFunction) else compute
    )


def code_digest(function: Callable, root: Path = REPOSITORY) -> str:
    """Twelve hex digits that change with the code that this function of an asset runs."""
    hashed = blake2b(digest_size=6)
    for (module, name), text in sorted(definitions_used(function, root).items()):
        hashed.update(f"{module} {name}\n{text}\n".encode())
    return hashed.hexdigest()


def definitions_used(function: Callable, root: Path = REPOSITORY) -> Mapping[tuple[str, str], str]:
    """Module and name of every definition that a function of an asset uses → its normal text."""
    found: dict[tuple[str, str], str] = {}
    waiting = [(function.__module__, function.__name__)]
    while waiting:
        place = waiting.pop()
        if place in found:
            continue
        module, name = place
        parsed = _parsed(module, root)
        found[place], names = parsed.definition(name)
        for used in names:
            if used in parsed.definitions:
                waiting.append((module, used))
            elif used in parsed.imports:
                waiting += _imported(*parsed.imports[used], root)
    return found


def _imported(origin: str, name: str, root: Path) -> list[tuple[str, str]]:
    """The definitions behind `from origin import name`; all of them where that is a module."""
    if not any(f"{origin}.".startswith(f"{room}.") for room in FOLLOWED):
        return []
    inner = f"{origin}.{name}" if name else origin
    if _path(inner, root) is not None:
        return [(inner, each) for each in _parsed(inner, root).definitions]
    parsed = _parsed(origin, root)
    if name in parsed.definitions:
        return [(origin, name)]
    if name in parsed.imports:  # handed on by a package
        return _imported(*parsed.imports[name], root)
    return []


class _Parsed:
    """One module: its top-level definitions, and where the names that it imports come from."""

    def __init__(self, source: str) -> None:
        tree = ast.parse(source)
        _Normal().visit(tree)
        self._told: dict[str, tuple[str, Set[str]]] = {}
        self.definitions: dict[str, list[ast.stmt]] = {}
        self.imports: dict[str, tuple[str, str]] = {}
        for statement in tree.body:
            for name in _defined(statement):
                self.definitions.setdefault(name, []).append(statement)
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module:
                for alias in node.names:
                    self.imports[alias.asname or alias.name] = (node.module, alias.name)
            elif isinstance(node, ast.Import):
                for alias in node.names:
                    self.imports[alias.asname or alias.name] = (alias.name, "")

    def definition(self, name: str) -> tuple[str, Set[str]]:
        """Text of a top-level definition (or of the one that holds the function of that name),
        and the names that it uses."""
        if name not in self._told:
            self._told[name] = self._definition(name)
        return self._told[name]

    def _definition(self, name: str) -> tuple[str, Set[str]]:
        statements = self.definitions.get(name) or self._holding(name)
        used = {
            node.id
            for statement in statements
            for node in ast.walk(statement)
            if isinstance(node, ast.Name)
        }
        return "\n".join(map(ast.unparse, statements)), used - {name}

    def _holding(self, function: str) -> list[ast.stmt]:
        return [
            statement
            for statements in self.definitions.values()
            for statement in statements
            for node in ast.walk(statement)
            if isinstance(node, ast.FunctionDef) and node.name == function
        ]


class _Normal(ast.NodeTransformer):
    """Takes out docstrings and other texts that stand alone."""

    def visit(self, node: ast.AST) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [each for each in node.body if not _is_text(each)] or [ast.Pass()]
        return node


def _is_text(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def _defined(statement: ast.stmt) -> Iterator[str]:
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        yield statement.name
    elif isinstance(statement, ast.Assign | ast.AnnAssign):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        for target in targets:
            yield from (node.id for node in ast.walk(target) if isinstance(node, ast.Name))


@lru_cache(maxsize=1024)
def _path(module: str, root: Path) -> Path | None:
    stem = root.joinpath(*module.split("."))
    for path in (stem.with_suffix(".py"), stem / "__init__.py"):
        if path.is_file():
            return path
    return None


@lru_cache(maxsize=1024)
def _parsed(module: str, root: Path) -> _Parsed:
    path = _path(module, root)
    assert path is not None, module
    return _Parsed(path.read_text())
