"""Print random docstrings, comments and error messages of the code, for a new reader to judge.

    python -m tests.support.sample_prose --seed 1 --count 30

Rewrite each passage that must be read twice. Repeat with another seed until all passages are clear.
"""

import argparse
import ast
import io
import random
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
SHORTEST = 25  # characters of a comment; shorter ones are shapes and units


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=30)
    flags = parser.parse_args()
    files = [
        path
        for folder in ("tanet", "bench", "projects", "examples")
        for path in sorted((ROOT / folder).rglob("*.py"))
    ]
    passages = [passage for path in files for passage in passages_of(path)]
    for number, (place, text) in enumerate(random.Random(flags.seed).sample(passages, flags.count), 1):
        print(f"[{number}] {place}\n{text}\n")


def passages_of(path: Path) -> Iterator[tuple[str, str]]:
    """Yield location and text of each docstring, field docstring, error message and comment."""
    source, name = path.read_text(), path.relative_to(ROOT)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and (
            text := ast.get_docstring(node)
        ):
            yield f"{name}:{getattr(node, 'lineno', 1)}", text
        if isinstance(node, ast.ClassDef):
            for field, text in zip(node.body, node.body[1:], strict=False):
                if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr):
                    yield (
                        f"{name}:{text.lineno} {ast.unparse(field.target)}",
                        str(ast.literal_eval(text.value)),
                    )
        if isinstance(node, ast.Raise) and node.exc:
            yield f"{name}:{node.lineno}", ast.unparse(node.exc)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT and len(token.string) > SHORTEST:
            yield f"{name}:{token.start[0]}", token.line.strip()


if __name__ == "__main__":
    main()
