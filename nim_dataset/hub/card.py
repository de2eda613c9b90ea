"""The card (README.md) of a repository as a push may change it: what the push owns, and nothing else.

A push owns some fields of the YAML metadata and the sections between a pair of marks, which it writes anew:

    <!-- generated: NAME sha256:DIGEST (a push replaces what is between these two lines) -->
    <!-- end of generated: NAME -->

All else belongs to whoever edits the card on the Hub, and stays as it is, comments and line ends included. So does a
section that does not have its digest any more: somebody has edited it.
"""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import yaml
from huggingface_hub.utils import yaml_dump

from nim_dataset.errors import UserError
from nim_dataset.hub.access import Destination

# What the Hub takes for metadata, or the mark of UTF-8 before it.
YAML_BLOCK = re.compile(r"\A(\ufeff?\s*---(?:\r\n|\r|\n))([\S\s]*?)((?:\r\n|\r|\n)---[ \t]*(?:\r\n|\n|\Z))")
MARK = re.compile(r"<!-- (end of )?generated: (\S+)")
SECTION = re.compile(r"<!-- generated: (\S+)[^\n]*-->[\S\s]*?<!-- end of generated: \1 -->")
STAMP = re.compile(r"\A(<!-- generated: \S+)(?: sha256:(\w+))?")


@dataclass(frozen=True)
class Card:
    """A card in its parts; `str` puts them together again, byte for byte."""

    opening: str
    """The line before the metadata; empty where there is none, as are the next two."""
    yaml: str
    """The metadata as text."""
    closing: str
    """The line after it."""
    body: str
    """The Markdown."""
    metadata: dict[str, Any]
    """What `yaml` says."""

    @classmethod
    def parse(cls, text: str, where: str = "README.md") -> "Card":
        """Raises `UserError`, one line that begins with `where`, for metadata or marks that cannot be kept."""
        block = YAML_BLOCK.match(text)
        opening, metadata_text, closing = block.groups() if block else ("", "", "")
        try:
            metadata = yaml.safe_load(metadata_text)
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            problem = " ".join(str(getattr(error, "problem", None) or error).split())
            raise UserError(f"{where}: its YAML metadata cannot be read ({problem}); mend it on the Hub") from None
        if not isinstance(metadata, dict | None):
            kind = type(metadata).__name__
            raise UserError(f"{where}: its YAML metadata is a {kind}, expected a mapping; mend it on the Hub")
        body = text[block.end() if block else 0 :]
        card = cls(opening, metadata_text, closing, body, metadata or {})
        marks = [(mark[2], bool(mark[1])) for mark in MARK.finditer(body)]
        pairs = [(name, is_end) for name in card.sections() for is_end in (False, True)]
        if marks != pairs:
            name = next((mark[0] for mark in marks if marks.count(mark) > 1 or (mark[0], not mark[1]) not in marks), "")
            raise UserError(
                f"{where}: the two marks of the generated section '{name or marks[0][0]}' are not one pair; "
                "put them in order on the Hub, or remove them"
            )
        return card

    def __str__(self) -> str:
        return self.opening + self.yaml + self.closing + self.body

    def sections(self) -> dict[str, str]:
        """Name -> text of each generated section, marks included."""
        return {section[1]: section[0] for section in SECTION.finditer(self.body)}

    def edited(self) -> list[str]:
        """The generated sections that are not as a push wrote them."""
        return [name for name, section in self.sections().items() if stamp(section) != section]

    def outside(self) -> str:
        """The Markdown without the generated sections, and without the space around them."""
        return " ".join(SECTION.sub(" ", self.body).split())


def stamp(section: str) -> str:
    """A generated section with the digest of its text, whatever its line ends, in its first mark."""
    plain = STAMP.sub(r"\1", section)
    digest = hashlib.sha256(plain.replace("\r\n", "\n").encode()).hexdigest()[:16]
    return STAMP.sub(rf"\1 sha256:{digest}", section)


def read_card(destination: Destination, revision: str) -> Card:
    """The card of a revision; an empty one when there is none. Raises `UserError` when it cannot be kept."""
    api, repo_id, kind = destination.api, destination.repo_id, destination.repo_type
    where = f"README.md of {repo_id}"
    if not api.file_exists(repo_id, "README.md", repo_type=kind, revision=revision):
        return Card.parse("")
    with open(api.hf_hub_download(repo_id, "README.md", repo_type=kind, revision=revision), "rb") as file:
        content = file.read()
    try:
        return Card.parse(content.decode(), where)
    except UnicodeDecodeError as error:
        raise UserError(f"{where}: invalid UTF-8 at byte {error.start + 1}; mend it on the Hub") from None


def merge(present: Card, made: Card, owned: Iterable[str], *, overwrite: bool = False) -> Card:
    """`present` with the `owned` fields and the generated sections of `made`, but for those that somebody has edited.

    Where there is no card, or with `overwrite`, it is all of `made`, and the sections of `present` that `made` lacks.
    """
    newline = "\r\n" if "\r\n" in str(present) else "\n"
    sections, edited = present.sections(), present.edited()
    stamped = Card.parse(SECTION.sub(lambda section: stamp(section[0]), str(made)))
    if overwrite or not str(present).strip():
        others = [text.replace("\r\n", "\n") for name, text in sections.items() if name not in stamped.sections()]
        return Card.parse(str(stamped) + "".join(f"\n{section}\n" for section in others))
    metadata, text = dict(present.metadata), present.yaml
    for field in owned:
        value = made.metadata.get(field)
        if value == metadata.get(field):
            continue
        text = replace_field(text, field, value, newline)
        metadata = {key: old for key, old in metadata.items() if key != field}
        metadata |= {} if value is None else {field: value}
    if parsed(text) != metadata:  # as with `{a: b}` for the whole, or an anchor in what was replaced
        text = dump(metadata, newline)
    body = present.body
    for name, section in stamped.sections().items():
        section = section.replace("\n", newline)
        if name not in sections:
            body += newline * (1 if body.endswith("\n") else 2) + section + newline
        elif name not in edited:
            body = body.replace(sections[name], section)
    opening, closing = (f"---{newline}", f"{newline}---{newline}") if not present.opening else ("", "")
    return Card.parse((present.opening or opening) + text + (present.closing or closing) + body)


def replace_field(text: str, field: str, value: Any, newline: str) -> str:
    """The YAML of a mapping with one field written anew, at its place or at the end; None removes it."""
    written = "" if value is None else dump({field: value}, newline)
    try:
        node = yaml.compose(text, yaml.SafeLoader)
    except yaml.YAMLError:  # another field could not be appended; `merge` writes all of it anew
        return text
    starts = [(key.value, key.start_mark.index) for key, _ in node.value] if node else []
    ends = [start for _, start in starts[1:]] + [len(text)]
    for (key, start), end in zip(starts, ends, strict=False):  # no key, one end
        if key == field:
            after = re.search(r"(?:^[ \t\r]*(?:#.*)?(?:\n|\Z))*\Z", text[start:end], re.M)
            rest = (after[0] if after else "") + text[end:]
            joined = text[:start] + written + (newline if written and rest else "") + rest
            return joined if rest else joined.rstrip("\r\n")
    return (text + newline if text else "") + written


def dump(metadata: dict[str, Any], newline: str) -> str:
    return yaml_dump(metadata, sort_keys=False).rstrip("\n").replace("\n", newline)


def parsed(text: str) -> Any:
    try:
        return yaml.safe_load(text) or {}
    except yaml.YAMLError:
        return None


def changes(before: Card, after: Card) -> str:
    """What a push changed, in words: "made", or the fields and sections that are new or different; empty if nothing."""
    if str(before) == str(after):
        return ""
    if not str(before).strip():
        return "made"
    keys = dict.fromkeys([*before.metadata, *after.metadata])
    changed = [f"'{key}'" for key in keys if before.metadata.get(key) != after.metadata.get(key)]
    old, new = before.sections(), after.sections()
    changed += [f"section '{name}'" for name in new if new[name] != old.get(name)]
    if before.outside() != after.outside():
        return ", ".join([*changed, "all that was written by hand"]) + " replaced"
    return ", ".join(changed) + " changed, all else kept"


def kept(card: Card) -> str:
    """What a push left as somebody had edited it, in words; empty if nothing."""
    if not (edited := card.edited()):
        return ""
    names = ", ".join(f"'{name}'" for name in edited)
    return f"edited on the Hub, so not written anew: section {names} (--overwrite-card replaces the whole card)"


def summary(before: Card, after: Card) -> str:
    """What a push did to a card, in a line."""
    return "; ".join(filter(None, [changes(before, after) or "unchanged", kept(after)]))
