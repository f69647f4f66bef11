// The OpenAPI document as a page: FastAPI's own would load its script from another server.

const element = (tag, text, ...children) => {
  const made = document.createElement(tag);
  if (text) made.textContent = text;
  made.append(...children);
  return made;
};

function table(head, rows) {
  const title = element("tr", "", ...head.map((text) => element("th", text)));
  const body = rows.map((cells) => element("tr", "", ...cells.map((text) => element("td", text))));
  return element("table", "", element("thead", "", title), element("tbody", "", ...body));
}

function section(path, method, operation) {
  const made = element("section", "", element("h2", "", element("code", `${method.toUpperCase()} ${path}`)));
  made.className = "operation";
  made.append(element("p", operation.description));
  for (const { name, schema, description } of operation.parameters ?? []) {
    made.append(element("p", `?${name}= ${description} (${schema.minimum} to ${schema.maximum}, default ${schema.default})`));
  }
  if (operation.requestBody) {
    made.append(element("p", `Body: ${Object.keys(operation.requestBody.content).join(", ")}. ${operation.requestBody.description}`));
  }
  if (operation.security) made.append(element("p", "Asks for the header Authorization: Bearer TOKEN."));
  const rows = Object.entries(operation.responses).map(([status, { description }]) => [status, description]);
  made.append(table(["Status", "When"], rows));
  return made;
}

const here = new URL(".", location.href);
document.querySelector("#example").textContent = [
  `curl -H "Content-Type: image/jpeg" --data-binary @photo.jpg ${here}v1/predict`,
  `curl -F images=@a.jpg -F images=@b.png "${here}v1/predict?top_k=3"`,
].join("\n");
const { paths } = await (await fetch("openapi.json")).json();
for (const [path, methods] of Object.entries(paths)) {
  for (const [method, operation] of Object.entries(methods)) {
    document.querySelector("#operations").append(section(path, method, operation));
  }
}
