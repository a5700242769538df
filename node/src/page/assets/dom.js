// Elements from data. Text only ever becomes a text node: nothing here makes markup of a string.

const SVG = "http://www.w3.org/2000/svg";

// Properties rather than attributes.
const PROPERTIES = new Set(["onclick", "onsubmit", "value"]);

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (PROPERTIES.has(name)) element[name] = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  append(element, children);
  return element;
}

function append(element, children) {
  for (const child of children) {
    if (child === undefined || child === null || child === false) continue;
    if (Array.isArray(child)) append(element, child);
    else element.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
}

// An element of HTML: h("p", { class: "note" }, "text", other, [more]).
export function h(tag, attributes, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

// An element of SVG.
export function s(tag, attributes, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

// Makes the children of `place` those of `wanted`, changing as little as possible: what has the focus keeps it, what is
// selected or typed stays, and a screen reader hears only of what is new. Children with the same `data-key` are the same.
export function patch(place, wanted) {
  const old = [...place.childNodes];
  const keyed = new Map();
  for (const node of old) if (node.dataset?.key) keyed.set(node.dataset.key, node);
  const loose = old.filter((node) => !node.dataset?.key);
  const next = [...wanted.childNodes].map((node) => {
    const key = node.dataset?.key;
    const found = key ? keyed.get(key) : take(loose, node);
    if (key) keyed.delete(key);
    if (!found || !sameKind(found, node)) return node;
    update(found, node);
    return found;
  });
  const kept = new Set(next);
  for (const node of old) if (!kept.has(node)) node.remove();
  next.forEach((node, index) => {
    if (place.childNodes[index] !== node) place.insertBefore(node, place.childNodes[index] ?? null);
  });
}

// The first loose node of the same kind, taken out.
function take(loose, node) {
  const index = loose.findIndex((other) => sameKind(other, node));
  return index < 0 ? undefined : loose.splice(index, 1)[0];
}

function sameKind(one, other) {
  return one.nodeType === other.nodeType && one.nodeName === other.nodeName;
}

function update(found, wanted) {
  if (found.nodeType !== Node.ELEMENT_NODE) {
    if (found.nodeValue !== wanted.nodeValue) found.nodeValue = wanted.nodeValue;
    return;
  }
  for (const { name } of [...found.attributes]) {
    if (!wanted.hasAttribute(name)) found.removeAttribute(name);
  }
  for (const { name, value } of wanted.attributes) {
    if (found.getAttribute(name) !== value) found.setAttribute(name, value);
  }
  for (const name of ["onclick", "onsubmit"]) found[name] = wanted[name];
  patch(found, wanted);
}
