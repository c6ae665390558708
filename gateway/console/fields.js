// The fields of the form: their limits as the API tells them, and what it says is wrong with one, beside it.
const FIELDS = ["prompt", "negative_prompt", "width", "height", "num_frames", "steps", "cfg", "seed"];
const field = (name) => document.getElementById(name);

function line(name, kind) {
  const id = `${name}-${kind}`;
  let made = document.getElementById(id);
  if (!made) {
    made = document.createElement("p");
    made.id = id;
    made.className = kind;
    made.hidden = true;
    field(name).closest(".field").append(made);
    const described = (field(name).getAttribute("aria-describedby") ?? "").split(" ").filter(Boolean);
    field(name).setAttribute("aria-describedby", [...described, id].join(" "));
  }
  return made;
}

function put(name, kind, text) {
  line(name, kind).textContent = text;
  line(name, kind).hidden = !text;
}

// Once: what may be chosen. A field that was touched keeps what is in it.
export function limit(limits) {
  for (const name of FIELDS) {
    const { least, most, default: usual, step } = limits[name] ?? {};
    const input = field(name);
    if (most === undefined) continue;
    if (least === undefined) {
      input.addEventListener("input", () => put(name, "hint", `${[...input.value].length} of ${most} characters`));
      put(name, "hint", `${[...input.value].length} of ${most} characters`);
      continue;
    }
    Object.assign(input, { min: least, max: most, step: step ?? "any" });
    if (input.value === "" || input.type === "range") input.value = usual;
    put(name, "hint", `${least} to ${most}${step > 1 ? `, in steps of ${step}` : ""}`);
  }
  field("num_frames").closest(".field").hidden = false;
}

// The length that will be made: where values are rounded down to, as the API says.
export function whole(limits, name, value) {
  const { least, most, step = 1 } = limits[name];
  return least + Math.floor((Math.min(Math.max(value, least), most) - least) / step) * step;
}

export function clear(name) {
  put(name, "wrong", "");
  field(name).removeAttribute("aria-invalid");
}

// [{field, message}] beside their fields; what belongs to none is given back as text. The first one gets the focus.
export function blame(details) {
  FIELDS.forEach(clear);
  const mine = details.filter((one) => FIELDS.includes(one.field));
  for (const { field: name, message } of mine) {
    put(name, "wrong", message);
    field(name).setAttribute("aria-invalid", "true");
    const folded = field(name).closest("details");
    if (folded) folded.open = true;
  }
  const first = FIELDS.find((name) => mine.some((one) => one.field === name));
  if (first) field(first).focus();
  return details.filter((one) => !FIELDS.includes(one.field)).map((one) => `${one.field} ${one.message}`).join(" ");
}

// What is in the form, as the API wants it. A number field that holds no number is reported, not left out.
export function read(names = FIELDS) {
  const body = {}, wrong = [];
  for (const name of names) {
    const input = field(name);
    const ranged = input.type === "range" || input.type === "number";
    if (input.validity.badInput) wrong.push({ field: name, message: "must be a number" });
    else if (input.closest(".length[hidden]")) continue;
    else if (!ranged) body[name] = input.value;
    else if (input.value !== "") body[name] = Number(input.value);
  }
  return { body, wrong };
}

export function listen(changed) {
  for (const name of FIELDS) field(name).addEventListener("input", () => { clear(name); changed(name); });
}
