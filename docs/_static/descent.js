/* Training in the playground: gradient steps on the logits themselves, through one softmax and
   through two, from the same start. `descend` holds the mathematics; a test in a browser compares its
   steps with the library's. */
"use strict";

const STEPS = 100; // of one press of the button: enough for the curves to bend
const STEPS_PER_FRAME = 2; // of the animation, which then takes a second

/* The path of gradient descent: for each step the logits and losses of both runs. */
function descend({ logits, target, temperature, smoothing }, rate) {
  const at = (once, twice) => ({
    once, twice,
    loss: lesson(once, target, temperature, smoothing).loss,
    lossTwice: lesson(twice, target, temperature, smoothing).lossTwice,
  });
  const path = [at(logits, logits)];
  return {
    path,
    step() {
      const { once, twice } = path.at(-1);
      const down = (row, name) => {
        const gradient = lesson(row, target, temperature, smoothing)[name];
        return row.map((z, c) => z - rate * gradient[c]);
      };
      path.push(at(down(once, "gradient"), down(twice, "gradientTwice")));
    },
  };
}

const TRAINING_WORDS = {
  en: {
    title: "Train from these logits", rate: "learning rate", step: "One step", train: `Train ${STEPS} steps`, back: "Back to step 0",
    once: "one softmax", twice: "two softmaxes", steps: (n) => `step ${n}`, floor: (f) => `floor ${f}`,
    right: (p) => `probability of the right class: ${p}`,
    chart: (n, a, b) => `Losses over ${n} steps: ${a} with one softmax, ${b} with two`,
  },
  ko: {
    title: "이 로짓에서 학습하기", rate: "학습률", step: "한 스텝", train: `${STEPS}스텝 학습`, back: "0번째 스텝으로",
    once: "softmax 한 번", twice: "softmax 두 번", steps: (n) => `${n}번째 스텝`, floor: (f) => `하한 ${f}`,
    right: (p) => `정답의 확률: ${p}`,
    chart: (n, a, b) => `${n}스텝 동안의 손실: softmax 한 번은 ${a}, 두 번은 ${b}`,
  },
};

/* The panel below the row: buttons, both losses, their curves. `start(state)` puts it back to step 0. */
function trainingPanel(language) {
  const words = TRAINING_WORDS[language] || TRAINING_WORDS.en;
  const named = (name) => panel.querySelector(`[data-name="${name}"]`);
  const panel = make("section", { class: "training", "aria-label": words.title },
    make("h2", {}, words.title),
    make("label", { class: "setting" },
      make("span", {}, make("span", {}, words.rate), make("output", { "data-name": "rate" })), slider("rate", words.rate, 0.1, 10, 0.1, 1)),
    make("div", { class: "buttons" },
      ...[["train", words.train], ["step", words.step], ["back", words.back]].map(([name, text]) => make("button", { type: "button", name }, text))),
    make("div", { class: "results", "aria-live": "polite" }, result("Once", words.once), result("Twice", words.twice)),
    chart());
  let state, run, frame;

  function result(name, title) {
    return make("div", { class: "card" }, make("h3", {}, title),
      make("div", { class: `big ${name.toLowerCase()}`, "data-name": `trained${name}` }), make("p", { "data-name": `right${name}` }));
  }

  function chart() {
    const line = (name, kind) => make("path", { "data-name": name, class: `${kind} curve`, "vector-effect": "non-scaling-stroke" });
    const label = (name, kind = "") => make("span", { "data-name": name, class: `label ${kind}` });
    return make("div", { class: "chart" },
      make("svg", { viewBox: "0 0 100 100", preserveAspectRatio: "none", role: "img" },
        line("floorLine", "quiet"), line("curveOnce", "once"), line("curveTwice", "twice")),
      label("top"), label("zero"), label("steps"), label("floor", "twice"));
  }

  function start(from) {
    stop();
    state = structuredClone(from);
    run = descend(state, rate());
    draw();
  }

  function rate() {
    return Number(panel.querySelector('[name="rate"]').value);
  }

  function stop() {
    cancelAnimationFrame(frame);
  }

  function train() {
    stop();
    const goal = run.path.length + STEPS;
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) {
      while (run.path.length < goal) run.step();
      draw();
    } else advance(goal);
  }

  function advance(goal) {
    for (let n = 0; n < STEPS_PER_FRAME && run.path.length < goal; n++) run.step();
    draw();
    if (run.path.length < goal) frame = requestAnimationFrame(() => advance(goal));
  }

  function draw() {
    const steps = run.path.length - 1, now = run.path.at(-1);
    const width = Math.max(steps, STEPS), height = Math.max(run.path[0].loss, run.path[0].lossTwice) * 1.05;
    const right = (row) => lesson(row, state.target, state.temperature, state.smoothing).probs[state.target].toFixed(4);
    for (const [name, loss, row] of [["Once", "loss", now.once], ["Twice", "lossTwice", now.twice]]) {
      put(`trained${name}`, now[loss].toFixed(4)).dataset.value = now[loss];
      named(`trained${name}`).dataset.logits = JSON.stringify(row);
      put(`right${name}`, words.right(right(row)));
      const points = run.path.map((at, n) => `${(100 * n) / width} ${100 - (100 * at[loss]) / height}`);
      named(`curve${name}`).setAttribute("d", `M${points.join("L")}`);
    }
    const { floor } = lesson(now.twice, state.target, 1, 0), level = 100 - (100 * floor) / height;
    const shown = state.smoothing === 0 && level > 0; // with smoothing the lowest loss is another
    named("floorLine").setAttribute("d", shown ? `M0 ${level}H100` : "");
    put("floor", shown ? words.floor(floor.toFixed(3)) : "").style.top = `${level}%`;
    put("rate", rate().toFixed(1));
    put("top", height.toFixed(2));
    put("zero", "0");
    put("steps", words.steps(steps)).dataset.value = steps;
    panel.querySelector("svg").setAttribute("aria-label", words.chart(steps, now.loss.toFixed(4), now.lossTwice.toFixed(4)));
  }

  function put(name, text) {
    const node = named(name);
    node.textContent = text;
    return node;
  }

  panel.addEventListener("click", ({ target: { name } }) => {
    if (name === "train") train();
    else if (name === "step") { stop(); run.step(); draw(); }
    else if (name === "back") start(state);
  });
  panel.addEventListener("input", (event) => {
    event.stopPropagation(); // the row above listens for its own sliders
    start(state);
  });
  return { panel, start };
}
