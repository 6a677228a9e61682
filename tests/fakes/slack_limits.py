"""How much and what Slack lets into a message or a view.

Checks the text and the blocks of one message as documented, and gives names to the blocks
and buttons that came without, as the real one does. Knows nothing of who writes where.
"""

from __future__ import annotations

from collections.abc import Iterator

from tests.fakes.slack_calls import Call, Refused
from tests.fakes.slack_world import JSON, World

TEXT, UPDATED_TEXT, SPLIT_TEXT = 40_000, 4_000, 4_000
MARKDOWN, SECTION, FIELD = 12_000, 3_000, 2_000
BLOCKS, VIEW_BLOCKS, ALL_BLOCKS_TEXT = 50, 100, 12_000
KNOWN = frozenset({
    "actions", "alert", "call", "card", "carousel", "context", "context_actions", "divider",
    "file", "header", "image", "input", "markdown", "plan", "rich_text", "section", "table",
    "task_card", "video",
})
ELEMENTS = {"actions": 25, "context": 10, "context_actions": 5}
"""How many elements each of these blocks holds."""
CHUNKS = frozenset({"markdown_text", "task_update", "plan_update", "blocks"})


def check_content(call: Call, longest: int = TEXT) -> None:
    """Refuse the text, markdown and blocks of a message that Slack would not take."""
    text, markdown = call.text("text"), call.text("markdown_text")
    blocks = call.args.get("blocks")
    if markdown and (text or blocks):
        raise Refused("markdown_text_conflict")
    if not (text.strip() or markdown.strip() or blocks or call.args.get("attachments")):
        raise Refused("no_text")
    if len(text) > longest or len(markdown) > MARKDOWN:
        raise Refused("msg_too_long")
    if len(text) > SPLIT_TEXT and not blocks:
        call.world.complaints.append(f"{call.method}: over {SPLIT_TEXT} characters are split up")
    if blocks is not None:
        check_blocks(blocks)
        if sum(map(len, texts(blocks))) > ALL_BLOCKS_TEXT:
            raise Refused("msg_blocks_too_long")


def check_blocks(blocks: object, most: int = BLOCKS) -> None:
    """Refuse blocks that break Block Kit's limits, naming each place as a JSON pointer."""
    if not isinstance(blocks, list):
        raise Refused("invalid_blocks_format")
    faults = [f"no more than {most} items allowed [json-pointer:/blocks]"][: len(blocks) > most]
    ids: set[str] = set()
    for number, block in enumerate(blocks):
        where = f"/blocks/{number}"
        faults += [f"{fault} [json-pointer:{where}{at}]" for at, fault in _block(block)]
        name = block.get("block_id") if isinstance(block, dict) else None
        if name in ids:
            faults.append(f"block_id is taken [json-pointer:{where}/block_id]")
        ids.update([name] if name else [])
    if faults:
        messages = [f"[ERROR] {fault}" for fault in faults]
        raise Refused("invalid_blocks", errors=faults, response_metadata={"messages": messages})


def _block(block: object) -> Iterator[tuple[str, str]]:
    if not isinstance(block, dict) or block.get("type") not in KNOWN:
        yield "/type", f"unsupported type: {block.get('type') if isinstance(block, dict) else ''}"
        return
    yield from _at_most(255, block.get("block_id"), "/block_id")
    kind = block["type"]
    if kind == "markdown":
        yield from _words(block.get("text"), MARKDOWN, "/text")
    elif kind == "header":
        yield from _text(block.get("text"), 150, "/text")
    elif kind == "section":
        fields = block.get("fields") or []
        if not fields or block.get("text") is not None:
            yield from _text(block.get("text"), SECTION, "/text")
        if len(fields) > 10:
            yield "/fields", "no more than 10 items allowed"
        for number, field in enumerate(fields):
            yield from _text(field, FIELD, f"/fields/{number}")
        if accessory := block.get("accessory"):
            yield from _element(accessory, "/accessory")
    elif kind in ELEMENTS:
        elements = block.get("elements") or []
        if not 1 <= len(elements) <= ELEMENTS[kind]:
            yield "/elements", f"must have 1 to {ELEMENTS[kind]} items"
        actions = [element.get("action_id") for element in elements]
        if len(set(actions)) < len(actions) and None not in actions:
            yield "/elements", "action_id is taken"
        for number, element in enumerate(elements):
            yield from _element(element, f"/elements/{number}")
    elif kind == "image" and not (block.get("alt_text") and
                                  (block.get("image_url") or block.get("slack_file"))):
        yield "", "missing required field: alt_text or image_url"


def _element(element: JSON, where: str) -> Iterator[tuple[str, str]]:
    kind = element.get("type")
    yield from _at_most(255, element.get("action_id"), f"{where}/action_id")
    if kind == "button":
        yield from _text(element.get("text"), 75, f"{where}/text")
        yield from _at_most(2_000, element.get("value"), f"{where}/value")
        if element.get("style") not in (None, "primary", "danger"):
            yield f"{where}/style", "must be primary or danger"
    elif kind == "feedback_buttons":
        for name in ("positive_button", "negative_button"):
            button = element.get(name)
            if not isinstance(button, dict):
                yield f"{where}/{name}", "missing required field"
                continue
            yield from _text(button.get("text"), 75, f"{where}/{name}/text")
            yield from _words(button.get("value"), 2_000, f"{where}/{name}/value")
    elif kind in ("mrkdwn", "plain_text"):
        yield from _text(element, SECTION, where)
    elif not kind:
        yield f"{where}/type", "missing required field"


def _text(text: object, most: int, where: str) -> Iterator[tuple[str, str]]:
    """A text object."""
    if not isinstance(text, dict) or text.get("type") not in ("mrkdwn", "plain_text"):
        yield where, "failed to match all allowed schemas"
    else:
        yield from _words(text.get("text"), most, f"{where}/text")


def _words(words: object, most: int, where: str) -> Iterator[tuple[str, str]]:
    if not isinstance(words, str) or not words:
        yield where, "must be more than 0 characters"
    else:
        yield from _at_most(most, words, where)


def _at_most(most: int, words: object, where: str) -> Iterator[tuple[str, str]]:
    if isinstance(words, str) and len(words) > most:
        yield where, f"must be less than {most + 1} characters"


def texts(part: object) -> Iterator[str]:
    """Every string that some blocks show, however deep."""
    if isinstance(part, dict):
        for name, value in part.items():
            if name == "text" and isinstance(value, str):
                yield value
            else:
                yield from texts(value)
    elif isinstance(part, list):
        for item in part:
            yield from texts(item)


def named(world: World, blocks: list[JSON] | None) -> list[JSON]:
    """Copies of `blocks` in which every block and button has an id."""
    return [
        {
            "block_id": world.id("b"),
            **block,
            **({"elements": [_with_action(world, element) for element in block["elements"]]}
               if block["type"] in ("actions", "context_actions") else {}),
        }
        for block in blocks or []
    ]


def _with_action(world: World, element: JSON) -> JSON:
    return {"action_id": world.id("a"), **element}


def streamed(call: Call) -> tuple[str, list[JSON]]:
    """The text and the other chunks that a streaming call brings."""
    chunks = call.args.get("chunks") or []
    if not isinstance(chunks, list) or any(chunk.get("type") not in CHUNKS for chunk in chunks):
        raise Refused("invalid_chunks")
    if call.text("markdown_text") and chunks:
        raise Refused("markdown_text_conflict")
    text = call.text("markdown_text") + "".join(
        chunk["text"] for chunk in chunks if chunk["type"] == "markdown_text"
    )
    if len(text) > MARKDOWN:
        raise Refused("msg_too_long")
    return text, [chunk for chunk in chunks if chunk["type"] != "markdown_text"]
