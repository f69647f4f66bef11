// One image after the other goes to v1/predict as it is; what comes back is shown as bars.

const TOP_K = 5;
const $ = (selector, root = document) => root.querySelector(selector);
const cards = []; // {card, record}: all that is shown again when the view changes
let model = { temperature: 1, limits: {} };
let token = "";

const view = () => $('input[name="view"]:checked').value;
const percent = (prob) => `${(100 * prob).toFixed(prob > 0 && prob < 0.001 ? 3 : 1)} %`;
const number = (value) => value.toFixed(2).replace("-", "−");
const headers = (more = {}) => (token ? { ...more, Authorization: `Bearer ${token}` } : more);

async function ask(path, options = {}) {
  let response;
  try {
    response = await fetch(path, { ...options, headers: headers(options.headers) });
  } catch {
    throw new Error("The service does not answer. Is it still running?");
  }
  const body = await response.json().catch(() => ({}));
  if (response.status === 401) $("#access").hidden = false;
  if (!response.ok) throw new Error(body.detail || `The service answered ${response.status}.`);
  return body;
}

async function meet() {
  try {
    model = await ask("v1/model");
  } catch (error) {
    $("#notice").textContent = error.message;
    return;
  }
  $("#access").hidden = true;
  $("#notice").textContent = "";
  $("#temperature").textContent = number(model.temperature);
  $("#model").textContent = `${model.arch}, ${model.classes.length} classes, computed by ${model.engine}`;
  show();
}

async function classify(file) {
  const card = $("#card").content.firstElementChild.cloneNode(true);
  const picture = $("img", card);
  picture.src = URL.createObjectURL(file);
  picture.onload = picture.onerror = () => URL.revokeObjectURL(picture.src);
  $("h2", card).textContent = file.name;
  $(".answer", card).textContent = "…";
  $("#results").prepend(card);
  try {
    if (file.size > model.limits.max_bytes) {
      const most = (model.limits.max_bytes / 2 ** 20).toFixed(0);
      throw new Error(`This file has ${(file.size / 2 ** 20).toFixed(0)} MiB; ${most} MiB are allowed.`);
    }
    const options = { method: "POST", body: file, headers: { "Content-Type": "application/octet-stream" } };
    const answer = await ask(`v1/predict?top_k=${TOP_K}`, options);
    cards.unshift({ card, record: answer.predictions[0] });
    picture.alt = `${file.name}, classified as ${answer.predictions[0].class}`;
    $("#notice").textContent = `${file.name}: ${answer.predictions[0].class}, ${percent(answer.predictions[0].prob)}`;
    show();
  } catch (error) {
    card.classList.add("bad");
    $(".answer", card).textContent = `${file.name} could not be classified`;
    $(".sum", card).textContent = error.message;
    $("#notice").textContent = `${file.name} could not be classified`;
  }
}

function show() {
  const shown = view();
  for (const stage of document.querySelectorAll("[data-stage]")) {
    stage.classList.toggle("shown", stage.dataset.stage === shown);
  }
  for (const { card, record } of cards) showRecord(card, record, shown);
  $("#lesson").textContent = cards.length ? lesson(cards[0].record) : "";
}

// What the classifier's own rules make of an answer; nothing if it has none.
function decision({ abstain, set, unlike }) {
  const withheld = abstain ? " The classifier abstains: it is not sure enough." : "";
  const strange = unlike ? " The image is unlike those of training." : "";
  return withheld + strange + (set ? ` Its set: ${set.join(", ") || "no class"}.` : "");
}

function showRecord(card, record, shown) {
  const { top } = record;
  const values = top.map((entry) => entry[shown]);
  const low = shown === "logit" ? Math.min(0, ...values) : 0;
  const high = shown === "logit" ? Math.max(0, ...values) : 1;
  const rows = top.map((entry) => {
    const row = document.createElement("li");
    const [name, bar, value] = ["span", "i", "output"].map((tag) => row.appendChild(document.createElement(tag)));
    name.textContent = entry.class;
    value.textContent = shown === "logit" ? number(entry.logit) : percent(entry.prob);
    const share = Math.abs(entry[shown]) / (high - low || 1);
    const start = (Math.min(0, entry[shown]) - low) / (high - low || 1);
    bar.style.setProperty("--share", `${100 * share}%`);
    bar.style.setProperty("--start", `${share < 1 ? (100 * start) / (1 - share) : 0}%`);
    return row;
  });
  $(".bars", card).replaceChildren(...rows);
  const first = top[0];
  $(".answer", card).textContent =
    shown === "logit" ? `${first.class}: logit ${number(first.logit)}` : `${first.class}: ${percent(first.prob)}`;
  const others = model.classes ? model.classes.length - top.length : 0;
  const rest = 1 - top.reduce((sum, entry) => sum + entry.prob, 0);
  $(".sum", card).textContent =
    shown === "logit"
      ? "Logits are unnormalised: only their differences mean something."
      : (others > 0 ? `${others} other classes share ${percent(Math.max(0, rest))}.` : "The probabilities sum to 1.")
        + decision(record);
}

// ln Σ over all classes follows from one class: ln p = z/T − ln Σ.
function lesson({ top: [first] }) {
  const scaled = first.logit / model.temperature;
  const lse = scaled - Math.log(first.prob);
  return `${first.class}: z = ${number(first.logit)}, z ÷ T = ${number(scaled)}, ln Σ = ${number(lse)}; ` +
    `e to the power of ${number(scaled - lse)} is ${percent(first.prob)}.`;
}

async function classifyAll(files) {
  for (const file of files) await classify(file);
}

$("#files").addEventListener("change", (event) => {
  classifyAll([...event.target.files]);
  event.target.value = ""; // so that the same file can be chosen again
});
document.addEventListener("paste", (event) => {
  const files = [...event.clipboardData.files];
  if (files.length) classifyAll(files);
  else if (event.target.tagName !== "INPUT") $("#notice").textContent = "What was pasted is no image: copy an image or a file first.";
});
for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    $("#drop").classList.toggle("over", kind === "dragenter" || kind === "dragover");
    if (kind === "drop") classifyAll([...event.dataTransfer.files]);
  });
}
for (const choice of document.querySelectorAll('input[name="view"]')) choice.addEventListener("change", show);
$("#access").addEventListener("submit", (event) => {
  event.preventDefault();
  token = $("#token").value;
  meet();
});
meet();
