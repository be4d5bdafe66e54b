// The images to look into: a list to choose from, the maps of the chosen one with their values under the pointer.
const { labels, images: looks } = JSON.parse(document.getElementById("data").textContent);
for (const look of looks)  // boxes by label: [box, IoU]
  look.boxes = Object.fromEntries(look.found.map((own, i) => own && [labels[i], [own.slice(0, 4), own[4]]]).filter(Boolean));
const [order, thumbs, panel, shared, drawn] = ["order", "thumbs", "look", "shared", "drawn"].map(id => document.getElementById(id));
const MAGMA = [[0, 0, 4], [59, 15, 112], [140, 41, 129], [222, 73, 104], [254, 159, 109], [252, 253, 191]];
const DIVERGING = [[5, 48, 97], [67, 147, 195], [247, 247, 247], [214, 96, 77], [103, 0, 31]];
const SVG = "http://www.w3.org/2000/svg";

const ranges = {}; // of all shown maps of a method: [lowest, highest value], and the largest extreme of a colour scale
for (const look of looks) for (const [name, map] of Object.entries(look.maps)) if (map) {
  const levels = Uint8Array.from(atob(map.levels), c => c.charCodeAt(0));
  map.values = Array.from(levels, level => map.low + level / 255 * (map.high - map.low));
  map.extreme = map.values.map(Math.abs).sort((a, b) => a - b)[Math.floor(0.995 * levels.length)] || Math.max(-map.low, map.high);
  const range = ranges[name] ??= [Infinity, -Infinity, 0];
  [range[0], range[1], range[2]] = [Math.min(range[0], map.low), Math.max(range[1], map.high), Math.max(range[2], map.extreme)];
}

const make = (tag, parent, text) => {
  const node = document.createElement(tag);
  if (text !== undefined) node.textContent = text;
  parent.append(node);
  return node;
};

const pane = title => {
  const node = make("div", panel);
  node.className = "pane";
  make("b", node, title);
  const frame = make("div", node);
  frame.className = "frame";
  return [node, frame];
};

const colour = (stops, share) => {
  const at = Math.min(Math.max(share, 0), 0.9999) * (stops.length - 1), i = Math.floor(at);
  return stops[i].map((value, k) => value + (at - i) * (stops[i + 1][k] - value));
};

const drawBoxes = (frame, look, predicted) => {
  if (!drawn.checked) return;
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", `0 0 ${look.size[1]} ${look.size[0]}`);
  svg.setAttribute("preserveAspectRatio", "none");
  for (const [box, stroke] of [...look.true.map(box => [box, "#16a34a"]), [predicted, "#e11d2e"]]) {
    if (!box || box.includes(null)) continue;
    const [x, y, x1, y1] = box, rect = document.createElementNS(SVG, "rect");
    const shape = { x, y, width: x1 - x, height: y1 - y, fill: "none", stroke, "stroke-width": 2, "vector-effect": "non-scaling-stroke" };
    for (const [key, value] of Object.entries(shape)) rect.setAttribute(key, value);
    svg.append(rect);
  }
  frame.append(svg);
};

const bestBox = (look, name) => look.boxes[name] ? [name, look.boxes[name]] :
  Object.entries(look.boxes).filter(([label]) => label.startsWith(name + " · ")).sort((a, b) => b[1][1] - a[1][1])[0];

const drawMap = (look, name, map) => {
  const [node, frame] = pane(name), found = bestBox(look, name);
  const text = map ? (found ? `${found[0].split(" · ")[1]}: IoU ${found[1][1].toFixed(2)}` : "") : "no map: constant or not finite";
  const said = make("output", node, text);
  if (!map) return;
  const [height, width] = map.size, [lowest, highest, widest] = ranges[name];
  const signed = lowest < -0.05 * highest, extreme = shared.checked ? widest : map.extreme;
  const floor = Math.min(Math.max(0, shared.checked ? lowest : map.low), 0.9 * extreme);
  const canvas = make("canvas", frame), context = canvas.getContext("2d");
  [canvas.width, canvas.height] = [width, height];
  canvas.style.aspectRatio = `${look.size[1]} / ${look.size[0]}`;
  const image = context.createImageData(width, height);
  map.values.forEach((value, i) => {
    const rgb = signed ? colour(DIVERGING, (value / extreme + 1) / 2) : colour(MAGMA, (value - floor) / (extreme - floor));
    image.data.set([...rgb, 255], 4 * i);
  });
  context.putImageData(image, 0, 0);
  drawBoxes(frame, look, found?.[1][0]);
  frame.addEventListener("pointermove", event => {
    const area = frame.getBoundingClientRect();
    const [x, y] = [[event.clientX - area.left, area.width, width], [event.clientY - area.top, area.height, height]]
      .map(([at, span, count]) => Math.min(count - 1, Math.max(0, Math.floor(at / span * count))));
    const [px, py] = [(x + 0.5) / width * look.size[1], (y + 0.5) / height * look.size[0]].map(Math.round);
    said.textContent = `${map.values[y * width + x].toPrecision(3)} at x ${px}, y ${py}`;
  });
  frame.addEventListener("pointerleave", () => said.textContent = text);
};

let chosen = looks[0];
const show = look => {
  chosen = look;
  panel.replaceChildren();
  const [node, frame] = pane(look.title);
  make("img", frame).src = look.photo;
  drawBoxes(frame, look);
  make("output", node, look.note);
  for (const [name, map] of Object.entries(look.maps)) drawMap(look, name, map);
  if (!Object.keys(look.maps).length) for (const [label, [box, iou]] of Object.entries(look.boxes)) {
    const [other, own] = pane(label);
    make("img", own).src = look.photo;
    drawBoxes(own, look, box);
    make("output", other, `IoU ${iou.toFixed(2)}`);
  }
  for (const button of thumbs.children) button.setAttribute("aria-pressed", button.look === look);
};

const arrange = () => {
  const key = look => order.value ? look.boxes[order.value]?.[1] ?? -1 : -looks.indexOf(look);
  thumbs.replaceChildren();
  for (const look of [...looks].sort((a, b) => key(b) - key(a))) {
    const button = make("button", thumbs);
    button.look = look;
    button.title = look.note;
    make("img", button).src = look.photo;
    if (order.value) button.append(look.boxes[order.value]?.[1].toFixed(2) ?? "–");
    button.addEventListener("click", () => show(look));
  }
  show(chosen);
};

make("option", order, "those with maps first").value = "";
for (const label of labels) make("option", order, "IoU of " + label).value = label;
order.addEventListener("change", arrange);
for (const box of [shared, drawn]) box.addEventListener("change", () => show(chosen));
arrange();
