import pytest
from markdown_it import MarkdownIt

from credit_risk.texts import escape_markdown, one_line


@pytest.mark.parametrize(
    "text",
    [
        "a\nb",
        "a\r\nb",
        "a\x0bb",
        "a\x85b",
        "a\u2028b",
        "a\u2029b",
        "a\x1bb",
        "a\u202eb",
        "a\u2067b",
        " a \t b ",
    ],
)
def test_text_becomes_one_line_read_from_left_to_right(text):
    assert one_line(text) == "a b"


def test_ordinary_text_is_unchanged():
    assert one_line("Jörg Müller-Łukasz, 李; 50 % (ok)") == "Jörg Müller-Łukasz, 李; 50 % (ok)"


@pytest.mark.parametrize(
    "text",
    [
        "![x](https://evil.example/a.png)",
        "[click](javascript:alert(1))",
        "<img src=x onerror=alert(1)>",
        "<https://evil.example>",
        "https://evil.example www.evil.example a@evil.example",
        "**bold** `code` ~~gone~~ &lt;b&gt;",
        "fine\n\n# Approved by the board\n| a | b |\n|---|---|",
    ],
)
def test_markdown_shows_a_text_as_it_is(text):
    html = (
        MarkdownIt("commonmark", {"html": True})
        .enable(["table", "strikethrough"])
        .render(escape_markdown(text))
    )
    body = html.removeprefix("<p>").removesuffix("</p>\n")
    assert html.startswith("<p>")
    assert "<" not in body
    assert "://" not in escape_markdown(text)
    assert one_line(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;") == body
