// Draws the OpenAPI document and lets one try its operations. Text from the document or from a
// response only ever becomes text nodes.

const METHODS = ["get", "post", "put", "patch", "delete"];
const state = document.getElementById("state");
const key = document.getElementById("key");
let spec;

/** An element; attributes that are null or false are left out, children are nodes or text. */
function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== false && value !== undefined) {
      node.setAttribute(name, value === true ? "" : value);
    }
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== ""));
  return node;
}

/** The schema behind references; what stands beside a reference (a description) wins. */
function resolve(schema) {
  if (!schema.$ref) return schema;
  const { $ref, ...beside } = schema;
  const found = $ref.slice(2).split("/").reduce((at, step) => at?.[step], spec) ?? {};
  return { ...resolve(found), ...beside };
}

function typeName(given) {
  const schema = resolve(given);
  if (schema.anyOf) return schema.anyOf.map(typeName).join(" or ");
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" or ");
  if (schema.type === "array" && schema.items) return `array of ${typeName(schema.items)}`;
  const type = [schema.type ?? "any JSON"].flat().join(" or ");
  return schema.format ? `${type} (${schema.format})` : type;
}

/** The schema with `properties` inside this one, if there is one: it may be an item or a choice. */
function objectIn(given) {
  const schema = resolve(given);
  if (schema.properties) return schema;
  if (schema.type === "array" && schema.items) return objectIn(schema.items);
  return schema.anyOf?.map(objectIn).find(Boolean) ?? null;
}

/** Text with `code` in backticks. */
function inline(text) {
  return text.split("`").map((piece, i) => (i % 2 ? el("code", {}, piece) : piece));
}

/** Paragraphs, and lists where lines begin with a dash. */
function prose(text = "") {
  const lines = text.split("\n").filter((line) => line.trim());
  if (!lines.every((line) => line.startsWith("- "))) return lines.map((l) => el("p", {}, inline(l)));
  return lines.length ? [el("ul", {}, lines.map((l) => el("li", {}, inline(l.slice(2)))))] : [];
}

function fact(name, schema, required, description, inner = null) {
  const preset = resolve(schema).default;
  return el("li", {},
    el("code", { class: "name" }, name), " ",
    el("span", { class: "type" }, typeName(schema)),
    required ? el("span", { class: "badge" }, "required") : "",
    preset === undefined || preset === null || typeof preset === "object"
      ? "" : el("span", { class: "quiet" }, `default ${JSON.stringify(preset)}`),
    prose(description ?? resolve(schema).description ?? ""), inner);
}

function fields(given, seen = []) {
  const schema = objectIn(given);
  if (!schema) return el("p", { class: "type" }, typeName(given));
  return el("ul", { class: "fields" }, Object.entries(schema.properties).map(([name, property]) => {
    const within = objectIn(property);
    const again = within && seen.includes(within.properties);
    const inner = within && !again
      ? el("details", {}, el("summary", {}, "Fields of ", el("code", {}, name)),
        fields(within, [...seen, schema.properties]))
      : null;
    const wanted = schema.required?.includes(name);
    return fact(name, property, wanted, property.description ?? null, inner);
  }));
}

/** A value to start from. */
function example(given, name, seen = []) {
  const schema = resolve(given);
  if (schema.default !== undefined) return schema.default;
  if (schema.enum) return schema.enum[0];
  if (schema.anyOf) return example(schema.anyOf[0], name, seen);
  const type = [schema.type].flat()[0];
  if (type === "array") return [];
  if (type === "object") {
    if (seen.includes(schema.properties)) return {};
    const inside = Object.entries(schema.properties ?? {});
    const deeper = [...seen, schema.properties];
    return Object.fromEntries(inside.map(([k, value]) => [k, example(value, k, deeper)]));
  }
  return { string: name, integer: 0, number: 0, boolean: false }[type] ?? null;
}

function field(label, control) {
  return el("div", { class: "field" }, el("label", { for: control.id }, label), control);
}

/** Show a response as it comes; JSON is indented once it is whole. */
async function show(response, output) {
  if (!response.body) return;
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    const atEnd = output.scrollHeight - output.scrollTop - output.clientHeight < 40;
    output.append(value);
    if (atEnd) output.scrollTop = output.scrollHeight;
  }
  if (/json/.test(response.headers.get("content-type"))) {
    output.textContent = JSON.stringify(JSON.parse(output.textContent), null, 2);
    output.scrollTop = 0;
  }
}

/** The request that the form describes. */
function requestOf(path, method, controls, body, secured) {
  const query = new URLSearchParams();
  const url = path.replace(/{(\w+)}/g, (_, name) => encodeURIComponent(controls[`path:${name}`].value));
  for (const [place, control] of Object.entries(controls)) {
    if (place.startsWith("query:") && control.value) query.set(place.slice(6), control.value);
  }
  const headers = {};
  const secret = key.value.trim();
  if (secured && secret) headers.Authorization = `Bearer ${secret}`;
  if (body?.value.trim()) headers["Content-Type"] = "application/json";
  const init = { method: method.toUpperCase(), headers, body: body?.value.trim() || undefined };
  return [`${query}` ? `${url}?${query}` : url, init];
}

function tryForm(id, path, method, operation) {
  const schema = operation.requestBody?.content?.["application/json"]?.schema;
  if (operation.requestBody && !schema) {
    return el("p", { class: "quiet" }, "Its body is not JSON, so it cannot be tried from here.");
  }
  const controls = {};
  const rows = (operation.parameters ?? []).map((parameter) => {
    const place = `${parameter.in}:${parameter.name}`;
    controls[place] = el("input", {
      id: `${id}-${parameter.name}`, autocomplete: "off", required: Boolean(parameter.required),
    });
    return field(`${parameter.name} (${parameter.in})`, controls[place]);
  });
  const filled = schema ? JSON.stringify(example(schema, ""), null, 2) : "";
  const height = Math.min(filled.split("\n").length + 1, 20);
  const body = schema
    ? el("textarea", { id: `${id}-body`, rows: height, spellcheck: "false" }, filled) : null;
  const send = el("button", { type: "submit" }, "Send");
  const stop = el("button", { type: "button", class: "plain", disabled: true }, "Cancel");
  const status = el("p", { role: "status", class: "quiet" });
  const output = el("pre", { tabindex: "0", "aria-label": "Response", hidden: true });
  const form = el("form", {}, rows, body ? field("JSON body", body) : "",
    el("p", { class: "buttons" }, send, stop), status, output);
  let running = null;
  stop.addEventListener("click", () => running?.abort());
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (running) return;
    running = new AbortController();
    stop.disabled = !(send.disabled = true);
    output.textContent = "";
    output.hidden = false;
    status.textContent = "Waiting …";
    const began = performance.now();
    try {
      const [url, init] = requestOf(path, method, controls, body, operation.security?.length);
      const response = await fetch(url, { ...init, signal: running.signal, cache: "no-store" });
      const line = `${response.status} ${response.statusText}`;
      status.textContent = `${line} …`;
      await show(response, output);
      status.textContent = `${line}, ${Math.round(performance.now() - began)} ms`;
    } catch (error) {
      status.textContent = error.name === "AbortError" ? "Cancelled." : `It failed: ${error.message}`;
    } finally {
      running = null;
      stop.disabled = !(send.disabled = false);
    }
  });
  return form;
}

function responses(operation) {
  return el("ul", { class: "fields" }, Object.entries(operation.responses).map(([code, answer]) =>
    el("li", {}, el("code", { class: "name" }, code), prose(answer.description),
      Object.entries(answer.content ?? {}).map(([type, { schema }]) =>
        el("details", {}, el("summary", {}, type),
          prose(resolve(schema).properties ? "" : resolve(schema).description), fields(schema))))));
}

function drawOperation(path, method, operation) {
  const id = operation.operationId ?? `${method}-${path}`;
  const body = operation.requestBody;
  const parameters = operation.parameters ?? [];
  const bodies = Object.entries(body?.content ?? {}).map(([type, { schema }]) =>
    [el("p", { class: "quiet" }, `${type}${body.required ? "" : ", may be left out"}`), fields(schema)]);
  return el("details", { class: "operation", id },
    el("summary", {}, el("span", { class: `method ${method}` }, method.toUpperCase()),
      el("code", {}, path), el("span", { class: "summary" }, inline(operation.summary ?? ""))),
    el("div", { class: "inside" }, prose(operation.description),
      parameters.length ? [el("h3", {}, "Parameters"), el("ul", { class: "fields" }, parameters.map((p) =>
        fact(p.name, p.schema ?? {}, p.required, `${p.description ?? ""} In the ${p.in}.`.trim())))] : [],
      body ? [el("h3", {}, "Body"), bodies] : [],
      el("h3", {}, "Try it"), tryForm(id, path, method, operation),
      el("h3", {}, "Responses"), responses(operation)));
}

function draw() {
  const groups = new Map();
  for (const [path, item] of Object.entries(spec.paths)) {
    for (const method of METHODS.filter((name) => item[name])) {
      const tag = item[method].tags?.[0] ?? "other";
      groups.set(tag, [...(groups.get(tag) ?? []), drawOperation(path, method, item[method])]);
    }
  }
  document.getElementById("about").append(...inline(spec.info.description ?? ""));
  document.getElementById("operations").append(...[...groups].map(([tag, operations]) =>
    el("section", {}, el("h2", {}, tag), operations)));
}

function openTarget() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target?.tagName !== "DETAILS") return;
  target.open = true;
  target.scrollIntoView();
}

try {
  state.textContent = "Loading …";
  const response = await fetch("/openapi.json");
  if (!response.ok) throw new Error(`${response.status} ${response.statusText}`);
  spec = await response.json();
  draw();
  state.textContent = "";
  document.getElementById("key-field").hidden = false;
  openTarget();
  addEventListener("hashchange", openTarget);
} catch (error) {
  state.textContent = `openapi.json could not be read: ${error.message}`;
}
