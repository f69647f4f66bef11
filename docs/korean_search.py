"""Search in Korean: a word is found by its beginning, since particles are written onto nouns.

Sphinx splits at spaces, so that 온도 would not find 온도를. Every beginning of a Hangul word of two
syllables or more is indexed with it.
"""

import re

from sphinx.search import SearchLanguage


class SearchKorean(SearchLanguage):
    """The index of the Korean pages."""

    lang = "ko"
    language_name = "Korean"
    _word = re.compile(r"[가-힣]+|\w+")

    def split(self, text: str) -> list[str]:
        """Return the words of a text, and the beginnings of those in Hangul."""
        words = self._word.findall(text)
        return [
            word[:end]
            for word in words
            for end in (range(2, len(word) + 1) if "가" <= word[0] <= "힣" else (len(word),))
        ]


def setup(app):
    """Register the language."""
    app.add_search_language(SearchKorean)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
