"""Print random docstrings, comments and error messages of the code, for a new reader to judge.

    python -m tests.support.sample_prose --seed 1 --count 30

Rewrite each passage that must be read twice. Repeat with another seed until all passages are clear.
"""

import argparse
import ast
import io
import random
import re
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
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and node.exc.args:
            yield f"{name}:{node.lineno}", ast.unparse(node.exc)
    yield from comments_of(source, name)


def comments_of(source: str, name: Path) -> Iterator[tuple[str, str]]:
    """Yield place and text of each comment; the lines of one comment are one passage."""
    block: list[tokenize.TokenInfo] = []
    for token in (*tokenize.generate_tokens(io.StringIO(source).readline), None):
        if token and token.type != tokenize.COMMENT:
            continue
        alone = token is not None and token.line.lstrip().startswith("#")
        follows = block and alone and token.start == (block[-1].start[0] + 1, block[0].start[1])
        if block and not follows:
            text = "\n".join(one.line.strip() for one in block)
            prose = not re.search(r"# (type: ignore|pyright:|noqa|fmt:)", text)
            if prose and sum(len(one.string) for one in block) > SHORTEST:
                yield f"{name}:{block[0].start[0]}", text
            block = []
        if token:
            block.append(token)


if __name__ == "__main__":
    main()
