"""Markdown in Slack's notation, and what people write there as plain text."""

from __future__ import annotations

import pytest

from bot.platforms.slack.commands import understood
from bot.platforms.slack.incoming import spoken_text
from bot.platforms.slack.mrkdwn import ROOM, SECTION, WHOLE, mrkdwn, sections, summary


@pytest.mark.parametrize(("markdown", "shown"), [
    ("**bold** and __bold__", "*bold* and *bold*"),
    ("*italic* and _italic_", "_italic_ and _italic_"),
    ("~~gone~~", "~gone~"),
    ("# A **big** word #", "*A *big* word*"),
    ("- one\n* two\n  + three", "• one\n• two\n  • three"),
    ("2 * 3 * 4 and snake_case_name", "2 * 3 * 4 and snake_case_name"),
    ("a < b && c > d", "a &lt; b &amp;&amp; c &gt; d"),
    ("```python\nx = a<b # **no**\n```", "```\nx = a&lt;b # **no**\n```"),
    ("`a**b**<c>`", "`a**b**&lt;c&gt;`"),
    ("[the page](https://x.org/?a=1&b=2)", "<https://x.org/?a=1&amp;b=2|the page>"),
    ("[`code`](https://x.org)", "<https://x.org|`code`>"),
    ("see https://x.org/a_b_c.", "see <https://x.org/a_b_c.>"),
    ("[not a page](javascript:x)", "[not a page](javascript:x)"),
    ("<!channel> <@U1> <https://x.org|y>", "&lt;!channel&gt; &lt;@U1&gt; "
                                           "&lt;<https://x.org|y>&gt;".replace("|y", "%7Cy")),
    ("**open", "**open"),
    ("\ue0000\ue001 \ue002", "0 "),
])  # fmt: skip
def test_markdown_is_written_in_slacks_notation_with_everything_else_escaped(
    markdown: str, shown: str
) -> None:
    assert mrkdwn(markdown) == shown


@pytest.mark.parametrize("text", ["word " * 760, "&" * 3800, "<p>&amp;</p>\n" * 290, "- a\n" * 900])
def test_a_message_of_any_text_fits_into_its_blocks(text: str) -> None:
    blocks = sections(text)
    lengths = [len(block["text"]["text"]) for block in blocks]
    assert max(lengths) <= SECTION and sum(lengths) <= ROOM + SECTION
    assert len(summary(text)) <= WHOLE


@pytest.mark.parametrize(("said", "plain"), [
    ("<@U0> hello", "hello"),
    ("<@U1|x> and <@U1> and <@U2>", "@x and @ada and @U2"),
    ("<!here> <!subteam^S1|@team> <#C1>", "@here @team #C1"),
    ("<mailto:a@x.org|a@x.org> <http://x.org|x.org> <https://y.org>", "a@x.org x.org https://y.org"),
    ("1 &lt; 2 &amp;&amp; &amp;lt;", "1 < 2 && &lt;"),
])  # fmt: skip
def test_what_people_write_is_read_as_they_see_it(said: str, plain: str) -> None:
    assert spoken_text(said, "U0", {"U1": "ada"}) == plain


@pytest.mark.parametrize(("text", "name", "args"), [
    ("", "help", ""), ("status", "status", ""), (" /status ", "status", ""),
    ("Learn try v3", "learn", "try v3"), ("persona Be <kind>", "persona", "Be <kind>"),
    ("???", "help", ""),
])  # fmt: skip
def test_a_subcommand_is_understood_and_nonsense_asks_for_help(
    text: str, name: str, args: str
) -> None:
    command = understood(text)
    assert (command.name, command.args) == (name, args)
