"""A card of any kind keeps what is not a push's, byte for byte where its YAML can be edited in place."""

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from nim_dataset.hub.card import Card, changes, kept, merge, stamp

MADE = Card.parse(
    "---\nlicense: mit\nconfigs:\n- config_name: a\n---\n\n# Title\n\n"
    "<!-- generated: about (a push replaces it) -->\nNew\n<!-- end of generated: about -->\n"
)
TEXT = st.text("ab:#-'\"| \n{&*é", max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
KEYS = st.sampled_from(["license", "configs", "title", "a b", "#", "-", "é", "1"])
OLD = "<!-- generated: about -->Old<!-- end of generated: about -->"
BODIES = st.sampled_from(["", "Mine", "\n# Mine\n\n", "---\n", OLD, stamp(OLD)])


@settings(deadline=None, max_examples=300)
@given(
    metadata=st.dictionaries(KEYS, VALUES, max_size=4),
    flow=st.sampled_from([None, True, False]),
    newline=st.sampled_from(["\n", "\r\n"]),
    mark=st.sampled_from(["", "\ufeff"]),
    body=BODIES,
)
def test_merge(metadata: dict, flow: bool | None, newline: str, mark: str, body: str) -> None:
    written = yaml.safe_dump(metadata, default_flow_style=flow, allow_unicode=True).rstrip("\n")
    text = f"{mark}---\n{written}\n---\n{body}".replace("\n", newline)
    present = Card.parse(text)
    assert str(present) == text
    merged = merge(present, MADE, ["configs", "dataset_info"])
    assert merged.metadata == {**present.metadata, "configs": [{"config_name": "a"}]}
    assert merged.body.startswith(body.replace("\n", newline).replace(stamp(OLD), ""))
    assert bool(kept(merged)) == (OLD in body)
    new = stamp(MADE.sections()["about"]).replace("\n", newline)
    # A section without its digest is somebody's own.
    assert merged.sections() == {"about": OLD if OLD in body else new}
    assert merge(merged, MADE, ["configs", "dataset_info"]) == merged
    anew = merge(merged, MADE, [], overwrite=True)
    assert anew.metadata == MADE.metadata
    assert anew == merge(Card.parse(""), MADE, [])
    assert changes(merged, merged) == ""


def test_comments_and_order_stay() -> None:
    text = "---\n# first\ntitle: x   # mine\nconfigs:\n- a: 1\n  # old\n\n# of the license\nlicense: 'mit'\n---\n"
    merged = merge(Card.parse(text), MADE, ["configs"])
    expected = text.replace("- a: 1\n  # old\n", "- config_name: a\n  # old\n")
    assert str(merged).startswith(expected)
    assert changes(Card.parse(text), merged) == "'configs', section 'about' changed, all else kept"
    removed = merge(merged, MADE, ["title", "dataset_info"])
    assert removed.yaml == merged.yaml.replace("title: x   # mine\n", "")
