// /docs: the OpenAPI document as a page, made of text nodes only.
import { api, words } from "/console/api.js";

const $ = (id) => document.getElementById(id);

function make(name, attributes = {}, ...parts) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...parts.flat(Infinity).filter((part) => part != null && part !== ""));
  return made;
}

// Words with `code` in backticks.
const prose = (text = "") => text.split("`").map((part, place) => (place % 2 ? make("code", {}, part) : part));
const json = (value) => make("pre", {}, JSON.stringify(value, null, 2));
const named = (ref) => ref.split("/").at(-1);

// A schema in few words; shapes are links to where they are told in full.
function kind(schema) {
  if (schema.$ref) return [make("a", { href: `#shape-${named(schema.$ref)}` }, named(schema.$ref))];
  const choice = schema.anyOf ?? schema.oneOf;
  if (choice) return choice.flatMap((one, place) => [place ? " or " : "", ...kind(one)]);
  if (schema.const !== undefined) return [make("code", {}, JSON.stringify(schema.const))];
  if (schema.enum) return schema.enum.flatMap((one, place) => [place ? ", " : "", make("code", {}, JSON.stringify(one))]);
  if (schema.type === "array") return ["list of ", ...kind(schema.items ?? {})];
  if (schema.type === "object" && schema.additionalProperties) return ["map to ", ...kind(schema.additionalProperties)];
  return [schema.format ?? schema.type ?? "anything"];
}

function limits({ minimum, maximum, minLength, maxLength, maxItems, pattern, default: standard }) {
  const told = [
    minimum !== undefined && `from ${minimum}`, maximum !== undefined && `to ${maximum}`,
    minLength !== undefined && `at least ${minLength} characters`, maxLength !== undefined && `at most ${maxLength} characters`,
    maxItems !== undefined && `at most ${maxItems}`, pattern !== undefined && `like ${pattern}`,
    standard !== undefined && `${JSON.stringify(standard)} if left out`,
  ].filter(Boolean);
  return told.length ? `, ${told.join(", ")}` : "";
}

function members({ properties = {}, required = [] }) {
  return make("ul", {}, Object.entries(properties).map(([name, schema]) => make("li", {},
    make("code", {}, name), required.includes(name) ? ": " : " (may be absent): ", kind(schema), limits(schema),
    schema.description ? [". ", prose(schema.description)] : "")));
}

function parameters(list) {
  return list.length ? [make("h3", {}, "Parameters"), make("ul", {}, list.map((one) => make("li", {},
    make("code", {}, one.name), ` in ${one.in}${one.required ? "" : ", may be left out"}: `, kind(one.schema),
    limits(one.schema), ". ", prose(one.description))))] : [];
}

function body({ requestBody }) {
  if (!requestBody) return [];
  return [make("h3", {}, "Body"), ...Object.entries(requestBody.content).flatMap(([type, { schema, example }]) => [
    make("p", {}, make("code", {}, type), " ", kind(schema)), example ? json(example) : ""])];
}

function answer([status, { description, content = {}, headers = {} }]) {
  const others = Object.keys(headers).filter((name) => name !== "X-Request-Id");
  const shown = Object.entries(content).map(([type, { schema, example, examples = {} }]) => [
    " ", make("span", { class: "soft" }, type, " ", type === "application/json" ? kind(schema) : ""),
    example ? json(example) : "",
    Object.values(examples).map((one) => make("p", { class: "soft" }, prose(one.summary))),
  ]);
  return make("li", {}, make("code", {}, status), " ", prose(description), shown,
    others.length ? make("p", { class: "soft" }, "Headers: ", others.join(", ")) : "");
}

// A command line that can be pasted; single quotes inside are closed, written and opened again.
function curl(server, method, path, operation) {
  const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;
  const filled = operation.parameters.filter((one) => one.in === "path")
    .reduce((text, one) => text.replace(`{${one.name}}`, one.example ?? one.name), path);
  const lines = [`curl -X ${method.toUpperCase()} ${quoted(server + filled)}`];
  if (operation.security.length) lines.push(`-H "Authorization: Bearer $OPENV_API_KEY"`);
  const example = operation.requestBody?.content["application/json"]?.example;
  if (example) lines.push("-H 'Content-Type: application/json'", `-d ${quoted(JSON.stringify(example))}`);
  return lines.join(" \\\n  ");
}

function copied(line) {
  const button = make("button", { type: "button", class: "quiet" }, "Copy");
  button.addEventListener("click", async () => {
    const done = await navigator.clipboard?.writeText(line).then(() => true, () => false);
    $("said").textContent = done ? "Copied." : "This browser does not let the page copy; select the line instead.";
  });
  return make("div", { class: "line" }, make("pre", {}, line), button);
}

function told(server, path, method, operation) {
  const scope = operation.security[0] ? Object.values(operation.security[0])[0][0] : null;
  return make("details", { class: "one", id: operation.operationId, "data-words":
    `${method} ${path} ${operation.summary} ${operation.operationId}`.toLowerCase() },
    make("summary", {}, make("span", { class: `method ${method}` }, method), make("code", {}, path),
      make("span", { class: "soft" }, operation.summary)),
    make("p", {}, prose(operation.description)),
    make("p", { class: "soft" }, scope ? ["Asks for a credential with the scope ", make("code", {}, scope), "."]
      : "Open to anyone."),
    parameters(operation.parameters), body(operation), make("h3", {}, "Answers"),
    make("ul", {}, Object.entries(operation.responses).map(answer)),
    make("h3", {}, "From a terminal"), copied(curl(server, method, path, operation)));
}

function shape([name, schema]) {
  return make("details", { class: "one", id: `shape-${name}` },
    make("summary", {}, make("code", {}, name)), make("p", {}, prose(schema.description)),
    schema.properties ? members(schema) : make("p", {}, kind(schema)));
}

function show(document_) {
  $("title").textContent = `${document_.info.title} ${document_.info.version}`;
  $("about").replaceChildren(...prose(document_.info.description));
  const rows = Object.entries(document_.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ path, method, operation })));
  $("operations").replaceChildren(...document_.tags.map(({ name }) => make("section", { "aria-label": name },
    make("h2", {}, name), rows.filter(({ operation }) => operation.tags.includes(name))
      .map(({ path, method, operation }) => told(document_.servers[0].url, path, method, operation)))));
  $("shapes").replaceChildren(...Object.entries(document_.components.schemas).map(shape));
}

function find() {
  const wanted = $("filter").value.trim().toLowerCase();
  for (const section of $("operations").children) {
    const all = [...section.querySelectorAll(".one")];
    for (const one of all) one.hidden = !one.dataset.words.includes(wanted);
    section.hidden = all.every((one) => one.hidden);
  }
}

// Where the address points to is open.
function open() {
  const wanted = location.hash && $(location.hash.slice(1));
  if (wanted?.localName === "details") { wanted.open = true; wanted.scrollIntoView(); wanted.firstChild.focus(); }
}

const result = await api("GET", "/openapi.json");
if (result.ok) {
  show(result.answer);
  open();
} else {
  $("said").textContent = words(result);
}
$("filter").addEventListener("input", find);
addEventListener("hashchange", open);
