"""The theme's own words in Korean: they are written into its templates, without a catalogue."""

from pathlib import Path

WORDS = {
    "<title>Contents</title>": "<title>차례</title>",
    "<title>Menu</title>": "<title>메뉴</title>",
    "<title>Expand</title>": "<title>펼치기</title>",
    "<title>Light mode</title>": "<title>밝은 화면</title>",
    "<title>Dark mode</title>": "<title>어두운 화면</title>",
    ">Skip to content<": ">본문으로 건너뛰기<",
    ">Back to top<": ">맨 위로<",
    "<span>Next</span>": "<span>다음</span>",
    "<span>Previous</span>": "<span>이전</span>",
    "<span>Home</span>": "<span>처음</span>",
    "On this page": "이 페이지의 내용",
    '"Toggle site navigation sidebar"': '"사이트 메뉴 여닫기"',
    '"Toggle table of contents sidebar"': '"차례 여닫기"',
    '"Toggle Light / Dark / Auto color theme"': '"밝은 화면, 어두운 화면, 자동"',
    '"Edit this page"': '"이 페이지 고치기"',
    ">Edit this page<": ">이 페이지 고치기<",
    "Made with <a": "만든 도구: <a",
    "</a> and <a": "</a>, <a",
}


def setup(app):
    """Translate the built pages."""
    app.connect("build-finished", _translate)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _translate(app, error):
    if app.config.language != "ko" or error:
        return
    for path in Path(app.outdir).rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        for english, korean in WORDS.items():
            text = text.replace(english, korean)
        path.write_text(text, encoding="utf-8")
