"""Draw the lesson's pictures in both languages: `python docs/pictures.py` writes `docs/pictures/`.

They are SVG, and committed, since a forge shows the pages without building them. Each brings a
background of its own and follows the reader's colour scheme, so that it can be read on any page.
They are 560 wide at most, which leaves their words readable on a phone.
"""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parents[1]
FOLDER = Path(__file__).parent / "pictures"

STYLE = """
text { font: 16px system-ui, sans-serif; fill: var(--ink) }
.card { fill: var(--page) } .box { fill: var(--box); stroke: var(--ink); stroke-width: 1.5 }
.once { --tone: var(--blue) } .twice { --tone: var(--red) } .paper { --tone: var(--green) }
.once text, .twice text, .paper text, text.once, text.twice, text.paper { fill: var(--tone) }
.outline { fill: none; stroke: var(--tone); stroke-width: 2 } .dashed { stroke-dasharray: 7 5 }
.line { fill: none; stroke: var(--tone); stroke-width: 2.5; stroke-linejoin: round }
.arrow { stroke: var(--ink); stroke-width: 1.5; fill: none } .tip { fill: var(--ink) }
.small { font-size: 14px } .strong { font-weight: 600 }
.code { font-family: ui-monospace, monospace; font-size: 14px }
.middle { text-anchor: middle } .end { text-anchor: end }
svg {
  --page: #ffffff; --box: #f1f4f7; --ink: #22272e;
  --blue: #1f5f99; --red: #b3341f; --green: #27693a;
}
@media (prefers-color-scheme: dark) {
  svg {
    --page: #1b1f24; --box: #2a3038; --ink: #e6e9ed;
    --blue: #8cc4f5; --red: #ff9d8a; --green: #8fd6a0;
  }
}
"""

WORDS = {
    "en": {
        "title": "The softmax is inside the loss during training, after the network at prediction",
        "network": "the network in code ends with Linear",
        "image": "image",
        "layers": ["convolutions,", "average pooling"],
        "head": "Linear",
        "logits": "logits",
        "training": "training: the loss",
        "formula": "cross_entropy(logits, target)",
        "pick": "pick the target",
        "loss": "loss",
        "prediction": "prediction",
        "probabilities": "probabilities",
        "paper": "what the paper draws",
        "curves": "Training loss and test accuracy over 40 epochs, with one softmax and with two",
        "loss_axis": "training loss (nats)",
        "accuracy_axis": "test accuracy (%)",
        "epoch": "epoch",
        "once": "one softmax",
        "twice": "two softmaxes",
        "floor": "floor 1.461",
    },
    "ko": {
        "title": "softmax의 자리: 학습할 때는 손실 함수 안, 예측할 때는 네트워크 다음",
        "network": "코드의 네트워크는 Linear로 끝난다",
        "image": "이미지",
        "layers": ["합성곱 층,", "평균 풀링"],
        "head": "Linear",
        "logits": "로짓",
        "training": "학습: 손실 함수",
        "formula": "cross_entropy(logits, target)",
        "pick": "정답 고르기",
        "loss": "손실",
        "prediction": "예측",
        "probabilities": "확률",
        "paper": "논문이 그리는 모델",
        "curves": "에폭 40번 동안의 학습 손실과 테스트 정확도, softmax 한 번과 두 번",
        "loss_axis": "학습 손실 (nat)",
        "accuracy_axis": "테스트 정확도 (%)",
        "epoch": "에폭",
        "once": "softmax 한 번",
        "twice": "softmax 두 번",
        "floor": "하한 1.461",
    },
}


def softmax_once(words: dict[str, str]) -> str:
    """Return the picture at the top of the lesson: one network, the paper's box, two softmaxes."""
    top, low = 92, 236
    layers = words["layers"]
    shapes = [
        '<path class="outline dashed paper" d="M14 14 H546 V384 H300 V178 H14 Z"/>',
        _text(26, 38, words["paper"], "paper strong"),
        '<path class="arrow" d="M30 84 V76 H404 V84"/>',
        _text(217, 68, words["network"], "small middle"),
        _box(30, top, 84, 64, [words["image"]]),
        _arrow(114, top + 32, 146),
        _box(146, top, 142, 64, layers),
        _arrow(288, top + 32, 320),
        _box(320, top, 84, 64, [words["head"]]),
        _arrow(404, top + 32, 440),
        _text(484, top + 38, words["logits"], "middle strong"),
        # from the logits to the loss, and to the softmax of prediction
        f'<path class="arrow" d="M484 {top + 46} V204 H424 V{low - 6}"/>',
        _tip(424, low, down=True),
        f'<path class="arrow" d="M424 204 H148 V{low - 6}"/>',
        _tip(148, low, down=True),
        f'<rect class="outline once" x="14" y="{low}" width="270" height="160" rx="8"/>',
        _text(149, low + 26, words["training"], "once middle strong"),
        _text(149, low + 48, words["formula"], "code middle"),
        _box(26, low + 64, 80, 44, ["softmax"], "once"),
        _arrow(106, low + 86, 122),
        _box(122, low + 64, 46, 44, ["log"], "once"),
        _arrow(168, low + 86, 184),
        _box(184, low + 64, 90, 44, _wrapped(words["pick"]), size="small"),
        f'<path class="arrow" d="M229 {low + 108} V{low + 138} H184"/>',
        _tip(178, low + 138, left=True),
        _text(150, low + 144, words["loss"], "middle strong"),
        _text(424, low + 18, words["prediction"], "middle strong"),
        _box(374, low + 30, 100, 44, ["softmax"], "once"),
        f'<path class="arrow" d="M424 {low + 74} V{low + 96}"/>{_tip(424, low + 102, down=True)}',
        _text(424, low + 122, words["probabilities"], "middle strong"),
    ]
    return _svg(560, 410, words["title"], shapes)


def curves(words: dict[str, str], once: Sequence[Rows], twice: Sequence[Rows]) -> str:
    """Return the losses and accuracies of `examples/second_softmax.py`, side by side."""
    shapes = []
    for left, axis, column, low, high, ticks in (
        (52, words["loss_axis"], 0, 0.0, 2.5, (0, 0.5, 1, 1.5, 2, 2.5)),
        (332, words["accuracy_axis"], 1, 20.0, 100.0, (20, 40, 60, 80, 100)),
    ):
        shapes += _axes(left, axis, words["epoch"], [(tick, low, high) for tick in ticks])
        for name, rows in (("once", once), ("twice", twice)):
            values = [row[column] * (100 if column else 1) for row in rows]
            shapes.append(
                f'<polyline class="line {name}" points="{_points(left, values, low, high)}"/>'
            )
    floor = _height(1.4612, 0, 2.5)
    shapes += [
        f'<path class="arrow dashed" d="M52 {floor:.1f} H262"/>',
        _text(262, floor + 17, words["floor"], "small end"),
        _text(262, _height(1.85, 0, 2.5), words["twice"], "twice small end strong"),
        _text(262, _height(0.2, 0, 2.5), words["once"], "once small end strong"),
        _text(542, _height(76, 20, 100), words["twice"], "twice small end strong"),
        _text(542, TOP - 1, words["once"], "once small end strong"),
    ]
    return _svg(560, 290, words["curves"], shapes)


Rows = tuple[float, float, float]
TOP, BOTTOM, WIDTH = 44, 240, 210


def _height(value: float, low: float, high: float) -> float:
    return BOTTOM - (value - low) / (high - low) * (BOTTOM - TOP)


def _points(left: int, values: Sequence[float], low: float, high: float) -> str:
    step = WIDTH / len(values)
    return " ".join(
        f"{left + step * (n + 1):.1f},{_height(value, low, high):.1f}"
        for n, value in enumerate(values)
    )


def _axes(left: int, axis: str, epoch: str, ticks: list[tuple[float, float, float]]) -> list[str]:
    shapes = [
        _text(left - 36, 26, axis, "small strong"),
        _text(left + WIDTH, BOTTOM + 38, epoch, "small end"),
        f'<path class="arrow" d="M{left} {TOP} V{BOTTOM} H{left + WIDTH}"/>',
    ]
    for tick, low, high in ticks:
        shapes.append(_text(left - 6, _height(tick, low, high) + 5, f"{tick:g}", "small end"))
    epochs = (10, 20, 30, 40)
    return shapes + [
        _text(left + WIDTH * tick / 40, BOTTOM + 18, str(tick), "small middle") for tick in epochs
    ]


def _box(
    x: int, y: int, width: int, height: int, lines: list[str], tone: str = "", size: str = ""
) -> str:
    """Return a rectangle with its lines centred in it, in a tone if it is part of the softmax."""
    outline = ' style="stroke: var(--tone); stroke-width: 2.5"' if tone else ""
    first = y + height / 2 + 6 - 10 * (len(lines) - 1)
    words = "".join(
        _text(x + width / 2, first + 20 * n, line, f"middle {size}") for n, line in enumerate(lines)
    )
    rect = f'<rect class="box" x="{x}" y="{y}" width="{width}" height="{height}" rx="6"{outline}/>'
    return f'<g class="{tone}">{rect}{words}</g>' if tone else rect + words


def _wrapped(text: str) -> list[str]:
    first, _, rest = text.rpartition(" ")
    return [first, rest]


def _text(x: float, y: float, text: str, kind: str = "") -> str:
    return f'<text x="{x:g}" y="{y:g}" class="{kind.strip()}">{text}</text>'


def _arrow(start: int, y: int, stop: int) -> str:
    return f'<path class="arrow" d="M{start} {y} H{stop - 6}"/>' + _tip(stop, y)


def _tip(x: int, y: int, *, down: bool = False, left: bool = False) -> str:
    if down:
        return f'<path class="tip" d="M{x} {y} l-5 -9 h10 z"/>'
    return f'<path class="tip" d="M{x} {y} l{9 if left else -9} -5 v10 z"/>'


def _svg(width: int, height: int, title: str, shapes: list[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}"'
        f' height="{height}" role="img" aria-label="{title}">\n<title>{title}</title>\n'
        f'<style>{STYLE}</style>\n<rect class="card" width="{width}" height="{height}" rx="10"/>\n'
        + "\n".join(shapes)
        + "\n</svg>\n"
    )


def second_softmax() -> tuple[list[Rows], list[Rows]]:
    """Return the rows of both runs of the example that the lesson shows."""
    example = runpy.run_path(str(ROOT / "examples/second_softmax.py"))
    return example["train"](example["once"]), example["train"](example["twice"])


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    runs = second_softmax()
    for language, words in WORDS.items():
        suffix = "" if language == "en" else f".{language}"
        (FOLDER / f"softmax_once{suffix}.svg").write_text(softmax_once(words), encoding="utf-8")
        (FOLDER / f"curves{suffix}.svg").write_text(curves(words, *runs), encoding="utf-8")
