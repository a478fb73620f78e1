"""A hook of MkDocs: what pages link to outside `docs/` becomes part of the site, so that links work in both places."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path, PurePosixPath
from urllib.parse import quote

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
HERE = "repository"
"""Folder of the site under which such files lie."""

LINK = re.compile(r"(\]\()([^)#\s:]+)((?:#[^)]*)?\))")
"""A relative link: the target and its anchor."""

LIST = re.compile(r"^(?![-\s|`])(.+)\n(?=- )", re.MULTILINE)
"""The last line of a paragraph that a list follows at once."""

CODE = {".py": "python", ".toml": "toml", ".yaml": "yaml", ".yml": "yaml", ".cff": "yaml", ".html": "html"}
SHOWN_AS_IT_IS = {".json", ".jsonl", ".svg", ".png"}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add every file that a page links to, and what those link to in turn."""
    todo = [path for page in DOCS.rglob("*.md") for path in _outside(page)]
    todo += [ROOT / name for name in config.extra["pages_from_outside"]]
    added: set[Path] = set()
    while todo:
        path = todo.pop()
        if path in added:
            continue
        added.add(path)
        if path.suffix in SHOWN_AS_IT_IS:
            files.append(File.generated(config, _place(path), content=path.read_bytes()))
        else:
            files.append(File.generated(config, _place(path), content=_page(path)))
            todo += [target for target in _outside(path) if target not in added]
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Point links to where their targets are on the site."""
    place = page.file.src_uri
    source = _source(place)
    if source.suffix not in ("", ".ipynb", ".md"):  # source code, in which nothing is a link
        return markdown

    def pointed(match: re.Match[str]) -> str:
        target = _target(source, match.group(2))
        if target is None:
            return match.group(0)
        where = os.path.relpath(_place(target), PurePosixPath(place).parent)
        return f"{match.group(1)}{where}{match.group(3)}"

    # Markdown of repositories begins a list without a blank line before it, MkDocs's does not.
    return LIST.sub(r"\1\n\n", LINK.sub(pointed, markdown))


def _source(place: str) -> Path:
    """The file of the repository that a file of the site is made from."""
    if not place.startswith(f"{HERE}/"):
        return DOCS / place
    path = ROOT / place.removeprefix(f"{HERE}/")
    if path.name == "index.md":
        return path.parent
    return path if path.exists() else path.with_suffix("")


def _place(path: Path) -> str:
    """Where a file of the repository lies on the site."""
    if path.is_relative_to(DOCS):
        return path.relative_to(DOCS).as_posix()
    inside = f"{HERE}/{path.relative_to(ROOT).as_posix()}"
    if path.is_dir():
        return f"{inside}/index.md"
    return inside if path.suffix in {".md", *SHOWN_AS_IT_IS} else f"{inside}.md"


def _target(source: Path, link: str) -> Path | None:
    """What a page links to, if that is a file or folder of the repository."""
    path = Path(os.path.normpath((source if source.is_dir() else source.parent) / link))
    if (path / "README.md").exists():
        path /= "README.md"
    return path if path.exists() and path.is_relative_to(ROOT) else None


def _outside(page: Path) -> list[Path]:
    if page.is_dir():
        return _listed(page)
    if page.suffix != ".md":
        return []
    links = (_target(page, link) for _, link, _ in LINK.findall(page.read_text(encoding="utf-8")))
    return [path for path in links if path is not None and not path.is_relative_to(DOCS)]


def _listed(folder: Path) -> list[Path]:
    return [one for one in sorted(folder.iterdir()) if not one.name.startswith((".", "__")) and one.name != "py.typed"]


def _page(path: Path) -> str:
    """A page that shows a file, or lists a folder."""
    name = path.relative_to(ROOT).as_posix()
    if path.is_dir():
        return f"# {name}\n\n" + "\n".join(f"- [{one.name}]({quote(one.name)})" for one in _listed(path))
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        return text
    if path.suffix == ".ipynb":
        return _notebook(json.loads(text)["cells"])
    return f"# {name}\n\n````{CODE.get(path.suffix, 'text')}\n{text}\n````\n"


def _notebook(cells: list[dict[str, object]]) -> str:
    parts = []
    for cell in cells:
        text = "".join(cell["source"])  # type: ignore[arg-type]
        parts.append(text if cell["cell_type"] == "markdown" else f"````python\n{text}\n````")
        for output in cell.get("outputs", []):  # type: ignore[attr-defined]
            data = output.get("data", {"text/plain": output.get("text", "")})
            picture = data.get("image/png")
            shown = "".join(data.get("text/plain", ""))
            parts.append(f"![What this cell draws](data:image/png;base64,{picture})" if picture else f"````text\n{shown}\n````")
    return "\n\n".join(parts)
