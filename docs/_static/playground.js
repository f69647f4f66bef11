/* The lesson on logits that can be dragged. Plain JavaScript; the numbers are tested against the
   library in a browser. `lesson` holds all the mathematics, the rest of the file draws it. */
"use strict";

const sum = (row) => row.reduce((total, value) => total + value, 0);

function logSoftmax(row) {
  const top = Math.max(...row);
  const logSum = top + Math.log(sum(row.map((z) => Math.exp(z - top))));
  return row.map((z) => z - logSum);
}

/* One row through one softmax and through two: losses in nats, gradients with respect to the logits. */
function lesson(logits, target, temperature, smoothing) {
  const scaled = logits.map((z) => z / temperature);
  const share = logits.map((_, c) => smoothing / logits.length + (c === target ? 1 - smoothing : 0));
  const logProbs = logSoftmax(scaled);
  const probs = logProbs.map(Math.exp);
  const logTwice = logSoftmax(probs);
  const probsTwice = logTwice.map(Math.exp);
  const outer = probsTwice.map((q, c) => q - share[c]);
  const inner = sum(outer.map((value, c) => value * probs[c]));
  return {
    probs, logProbs, probsTwice,
    loss: -sum(logProbs.map((value, c) => share[c] * value)),
    lossTwice: -sum(logTwice.map((value, c) => share[c] * value)),
    gradient: probs.map((p, c) => (p - share[c]) / temperature),
    gradientTwice: outer.map((value, c) => (probs[c] * (value - inner)) / temperature),
    floor: Math.log1p((logits.length - 1) / Math.E),
  };
}

const WORDS = {
  en: {
    row: "A row of logits", class: "class", target: "right class", logit: "logit", probs: "after one softmax, and after two",
    push: "where a step pushes it, and the gradient", classes: "classes", temperature: "temperature", smoothing: "label smoothing",
    once: "cross_entropy(logits)", twice: "cross_entropy(softmax(logits))", gradient: "length of the gradient, two softmaxes / one",
    onceNote: "one softmax, inside the loss", floor: (f) => `two softmaxes: never below ${f}`,
    floorSmooth: "two softmaxes", gradientNote: (a, b) => `${b} instead of ${a}`, terminal: "The same in a terminal",
    reset: "Start again", draw: "Draw at random", logitOf: (c) => `logit of class ${c}`,
  },
  ko: {
    row: "로짓 한 행", class: "클래스", target: "정답", logit: "로짓", probs: "softmax 한 번과 두 번",
    push: "한 스텝이 미는 방향과 기울기", classes: "클래스 수", temperature: "온도", smoothing: "레이블 스무딩",
    once: "cross_entropy(logits)", twice: "cross_entropy(softmax(logits))", gradient: "기울기의 길이: 두 번 ÷ 한 번",
    onceNote: "softmax는 한 번, 손실 안에서", floor: (f) => `softmax 두 번: ${f} 아래로는 못 내려감`,
    floorSmooth: "softmax 두 번", gradientNote: (a, b) => `${a} 대신 ${b}`, terminal: "터미널에서 똑같이",
    reset: "처음으로", draw: "무작위로", logitOf: (c) => `클래스 ${c}의 로짓`,
  },
};

const START = { logits: [2.0, 0.5, -1.0], target: 0, temperature: 1, smoothing: 0 };
const LIMIT = 6, MOST = 6;

function make(tag, attributes = {}, ...children) {
  const space = ["svg", "line", "path"].includes(tag) ? "http://www.w3.org/2000/svg" : "http://www.w3.org/1999/xhtml";
  const node = document.createElementNS(space, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

function slider(name, label, low, high, step, value) {
  return make("input", { type: "range", name, "aria-label": label, min: low, max: high, step, value });
}

function playground(root) {
  const words = WORDS[document.documentElement.lang] || WORDS.en;
  const training = trainingPanel(document.documentElement.lang);
  let state = fromHash() || structuredClone(START);
  build();

  /* Everything that has a number of its own is built once for a number of classes. */
  function build() {
    const { logits, target, temperature, smoothing } = state;
    const settings = make("div", { class: "settings" },
      setting("classes", words.classes, 2, MOST, 1, logits.length),
      setting("temperature", words.temperature, 0.25, 4, 0.05, temperature),
      setting("smoothing", words.smoothing, 0, 0.5, 0.01, smoothing));
    const head = make("div", { class: "row head", "aria-hidden": "true" },
      ...[words.target, words.logit, words.probs, words.push].map((text) => make("span", {}, text)));
    const rows = make("fieldset", {}, make("legend", {}, words.row), head, ...logits.map((z, c) => rowOf(z, c, c === target)));
    root.replaceChildren(
      settings, rows,
      make("div", { class: "results", "aria-live": "polite" },
        card("loss", "once", words.once), card("lossTwice", "twice", words.twice), card("ratio", "", words.gradient)),
      make("div", { class: "buttons" },
        make("button", { type: "button", name: "draw" }, words.draw), make("button", { type: "button", name: "reset" }, words.reset)),
      training.panel,
      make("p", {}, `${words.terminal}:`), make("pre", { class: "command", tabindex: "0", "data-name": "command" }));
    update();
  }

  function setting(name, label, low, high, step, value) {
    return make("label", { class: "setting" },
      make("span", {}, make("span", {}, label), make("output", { "data-name": name }, String(value))), slider(name, label, low, high, step, value));
  }

  function rowOf(z, c, isTarget) {
    const radio = make("input", { type: "radio", name: "target", value: c });
    radio.checked = isTarget;
    const caption = (text) => make("span", { class: "caption" }, text);
    return make("div", { class: "row", "data-class": c },
      make("label", { class: "target" }, radio, `${words.class} ${c}`),
      make("div", { class: "logit" }, slider("logit", words.logitOf(c), -LIMIT, LIMIT, 0.01, z), make("output", { class: "num", "data-name": "logit" })),
      make("div", {}, caption(words.probs), bar("probs", "once"), bar("probsTwice", "twice"), logLine()),
      make("div", {}, caption(words.push), arrow("gradient", "once"), arrow("gradientTwice", "twice")));
  }

  function bar(name, kind) {
    return make("div", { class: `bar ${kind}` }, make("i", {}), make("span", { class: "num", "data-name": name }));
  }

  function logLine() {
    return make("div", { class: "bar log" }, make("span", {}, "log_softmax"), make("span", { class: "num", "data-name": "logProbs" }));
  }

  function arrow(name, kind) {
    const drawing = make("svg", { viewBox: "-50 -8 100 16", preserveAspectRatio: "none", "aria-hidden": "true" },
      make("line", { class: "zero", x1: 0, x2: 0, y1: -8, y2: 8 }), make("line", { class: "shaft", y1: 0, y2: 0, x1: 0 }), make("path", {}));
    return make("div", { class: `arrow ${kind}` }, drawing, make("span", { class: "num", "data-name": name }));
  }

  function card(name, kind, title) {
    return make("div", { class: "card" }, make("h3", {}, title), make("div", { class: `big ${kind}`, "data-name": name }), make("p", { "data-name": `${name}Note` }));
  }

  function update() {
    const { logits, target, temperature, smoothing } = state;
    const now = lesson(logits, target, temperature, smoothing);
    logits.forEach((z, c) => {
      const row = root.querySelector(`.row[data-class="${c}"]`);
      show(row, "logit", z, 2);
      for (const name of ["probs", "probsTwice"]) {
        show(row, name, now[name][c], 4).previousSibling.style.setProperty("--share", `${100 * now[name][c]}%`);
      }
      for (const name of ["gradient", "gradientTwice"]) point(show(row, name, now[name][c], 4), now[name][c] * temperature);
      show(row, "logProbs", now.logProbs[c], 4);
    });
    const [once, twice] = [Math.hypot(...now.gradient), Math.hypot(...now.gradientTwice)];
    show(root, "loss", now.loss, 4);
    show(root, "lossTwice", now.lossTwice, 4);
    show(root, "ratio", once > 0 ? twice / once : 1, 3);
    say("lossNote", words.onceNote);
    say("lossTwiceNote", smoothing > 0 ? words.floorSmooth : words.floor(now.floor.toFixed(3)));
    say("ratioNote", words.gradientNote(once.toFixed(4), twice.toFixed(4)));
    for (const name of ["temperature", "smoothing"]) say(name, state[name].toFixed(2));
    say("classes", logits.length);
    const options = (temperature === 1 ? "" : ` --temperature ${temperature}`) + (smoothing === 0 ? "" : ` --label-smoothing ${smoothing}`);
    say("command", `softonce explain --logits ${logits.join(",")} --target ${target}${options}`);
    training.start(state);
    history.replaceState(null, "", `#${[logits.join(","), target, temperature, smoothing].join("/")}`);
  }

  function show(within, name, value, digits) {
    const node = within.querySelector(`[data-name="${name}"]`);
    node.textContent = value.toFixed(digits).replace(/^-(0\.?0*)$/, "$1");
    node.dataset.value = value;
    return node;
  }

  function say(name, text) {
    root.querySelector(`[data-name="${name}"]`).textContent = text;
  }

  /* An arrow along -gradient, drawn to the scale of 1 = half of the width. */
  function point(node, gradient) {
    const drawing = node.previousSibling, tip = Math.max(-1, Math.min(1, -gradient)) * 48;
    const size = Math.min(6, Math.abs(tip)), back = tip - Math.sign(tip) * size;
    drawing.querySelector(".shaft").setAttribute("x2", back);
    drawing.querySelector("path").setAttribute("d", `M${tip} 0 L${back} -5 L${back} 5 Z`);
  }

  root.addEventListener("input", ({ target: input }) => {
    const value = Number(input.value);
    if (input.name === "logit") state.logits[input.closest(".row").dataset.class] = value;
    else if (input.name === "classes") {
      state.logits = Array.from({ length: value }, (_, c) => state.logits[c] ?? 0);
      state.target = Math.min(state.target, value - 1);
      build();
      root.querySelector('[name="classes"]').focus();
      return;
    } else state[input.name] = value;
    update();
  });
  root.addEventListener("click", ({ target: button }) => {
    if (button.name === "reset") state = structuredClone(START);
    else if (button.name === "draw") state.logits = state.logits.map(() => Number((6 * Math.random() - 3).toFixed(2)));
    else return;
    const { name } = button;
    build();
    root.querySelector(`[name="${name}"]`).focus();
  });

  function fromHash() {
    const [row, target, temperature, smoothing] = decodeURIComponent(location.hash.slice(1)).split("/");
    const logits = (row || "").split(",").map(Number);
    const rest = [target, temperature, smoothing].map(Number);
    const sound = logits.length >= 2 && logits.length <= MOST && [...logits, ...rest].every(Number.isFinite)
      && logits.every((z) => Math.abs(z) <= LIMIT) && rest[0] >= 0 && rest[0] < logits.length && rest[1] >= 0.25 && rest[1] <= 4 && rest[2] >= 0 && rest[2] <= 0.5;
    return sound ? { logits, target: rest[0], temperature: rest[1], smoothing: rest[2] } : null;
  }
}

document.querySelectorAll(".playground").forEach(playground);
