"use strict";
// The page: drop a video, see the labels of each model, over time for long videos. Nothing is loaded from elsewhere.

const LONG = 8; // seconds from which a video is also shown over time
const COLOURS = ["#2456c7", "#b3541e", "#1f7a4d", "#8a3fa0", "#8a6d00", "#b3261e", "#00707a", "#5b6472"];
const $ = (id) => document.getElementById(id);
const player = $("player");
const cards = [];
let file = null;
let round = 0; // answers for an earlier video are thrown away
let stopAt = null;

async function ask(path, body) {
  const response = await fetch(path, body ? { method: "POST", body } : {});
  if (response.ok) return response;
  let cause = `${response.status} ${response.statusText}`;
  try { cause = (await response.json()).error || cause; } catch { /* not JSON */ }
  throw new Error(cause);
}

function percent(value) { return `${(100 * value).toFixed(1)} %`; }

function clock(seconds) {
  const whole = Math.floor(seconds);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}.${Math.floor(10 * (seconds - whole))}`;
}

class Card {
  constructor(model) {
    this.model = model;
    this.root = $("model").content.firstElementChild.cloneNode(true);
    this.find("h2").textContent = model.name;
    this.find(".about").textContent = `${model.title}, ${model.classes} classes`;
    this.find(".explain").hidden = !model.explains;
    this.find(".timeline").onclick = () => this.timeline();
    this.find(".explain").onclick = () => this.explain();
    this.find(".copy").onclick = () => this.copy();
    $("models").append(this.root);
  }

  find(selector) { return this.root.querySelector(selector); }

  say(text) { this.find(".state").textContent = text; }

  clear() {
    this.find(".bars").replaceChildren();
    this.find(".over-time").hidden = true;
    this.find(".figure").hidden = true;
    for (const button of this.root.querySelectorAll(".actions button")) button.disabled = true;
    this.say("");
  }

  // Ask the server, and say what happens. Answers for an earlier video are ignored.
  async run(text, path, show) {
    const mine = round;
    this.say(text);
    const start = performance.now();
    try {
      const response = await ask(`${path}?model=${encodeURIComponent(this.model.name)}`, file);
      const answer = await show(response);
      if (mine !== round) return;
      answer();
      this.say(`${((performance.now() - start) / 1000).toFixed(1)} s`);
    } catch (error) {
      if (mine === round) this.say(error.message);
    }
  }

  async classify() {
    await this.run("Looking …", "v1/classify", async (response) => {
      const found = await response.json();
      return () => {
        this.find(".bars").replaceChildren(...found.map((one) => this.bar(one)));
        for (const button of this.root.querySelectorAll(".actions button")) button.disabled = false;
      };
    });
  }

  bar({ label, score }) {
    const item = document.createElement("li");
    const row = document.createElement("div");
    row.className = "row";
    const name = document.createElement("span");
    name.textContent = label;
    const value = document.createElement("span");
    value.textContent = percent(score);
    row.append(name, value);
    const track = document.createElement("div");
    track.className = "track";
    const bar = document.createElement("div");
    bar.className = "bar";
    bar.style.width = `${100 * score}%`;
    track.append(bar);
    item.append(row, track);
    return item;
  }

  async timeline() {
    await this.run("Reading the whole video …", "v1/timeline", async (response) => {
      const found = await response.json();
      return () => {
        this.find(".over-time").hidden = false;
        const labels = [...new Set([...Object.keys(found.scores), ...found.segments.map((one) => one.label)])];
        const colour = (label) => COLOURS[labels.indexOf(label) % COLOURS.length];
        this.lines(found, colour);
        this.find(".strip").replaceChildren(...found.segments.map((one) => this.segment(one, found.duration, colour)));
        this.find(".segments").replaceChildren(...found.segments.map((one) => this.line(one, colour)));
      };
    });
  }

  lines({ edges, scores, duration }, colour) {
    const canvas = this.find("canvas");
    const scale = window.devicePixelRatio || 1;
    canvas.width = canvas.clientWidth * scale;
    canvas.height = canvas.clientHeight * scale;
    const pen = canvas.getContext("2d");
    const x = (time) => (time / duration) * canvas.width;
    const y = (score) => canvas.height - 2 - score * (canvas.height - 4);
    pen.clearRect(0, 0, canvas.width, canvas.height);
    for (const [label, values] of Object.entries(scores)) {
      pen.strokeStyle = colour(label);
      pen.lineWidth = 2 * scale;
      pen.beginPath();
      values.forEach((value, cell) => {
        pen.lineTo(x(edges[cell]), y(value));
        pen.lineTo(x(edges[cell + 1]), y(value));
      });
      pen.stroke();
    }
  }

  segment({ start, end, label, score }, duration, colour) {
    const button = document.createElement("button");
    button.textContent = label;
    button.title = `${label}, ${percent(score)}, ${clock(start)} – ${clock(end)}`;
    button.setAttribute("aria-label", button.title);
    button.style.left = `${(100 * start) / duration}%`;
    button.style.width = `${(100 * (end - start)) / duration}%`;
    button.style.background = colour(label);
    button.onclick = () => play(start, end);
    return button;
  }

  line({ start, end, label, score }, colour) {
    const item = document.createElement("li");
    const button = document.createElement("button");
    for (const [kind, text] of [["dot", ""], ["when", `${clock(start)} – ${clock(end)}`], ["what", label], ["when", percent(score)]]) {
      const part = document.createElement("span");
      part.className = kind;
      part.textContent = text;
      if (kind === "dot") part.style.background = colour(label);
      button.append(part);
    }
    button.onclick = () => play(start, end);
    item.append(button);
    return item;
  }

  async explain() {
    await this.run("Drawing …", "v1/explain", async (response) => {
      const address = URL.createObjectURL(await response.blob());
      return () => {
        const picture = this.find(".figure");
        picture.onload = () => URL.revokeObjectURL(address);
        picture.src = address;
        picture.hidden = false;
      };
    });
  }

  async copy() {
    const quote = (word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);
    const command = `tanet predict --model ${quote(this.model.command)} ${quote(file.name)}`;
    try {
      await navigator.clipboard.writeText(command);
      this.say(`Copied: ${command}`);
    } catch {
      this.say(command); // without permission, the user copies it from here
    }
  }
}

function play(start, end) {
  player.currentTime = start;
  stopAt = end;
  player.play();
}

function complain(text) {
  $("error").textContent = text;
  $("error").hidden = !text;
}

function take(chosen) {
  if (!chosen) return;
  file = chosen;
  round += 1;
  stopAt = null;
  complain("");
  $("name").textContent = `${file.name}, ${file.size < 1e6 ? `${Math.ceil(file.size / 1e3)} kB` : `${(file.size / 1e6).toFixed(1)} MB`}`;
  $("name").hidden = false;
  for (const card of cards) card.clear();
  if (player.src) URL.revokeObjectURL(player.src);
  player.src = URL.createObjectURL(file);
  player.hidden = false;
  $("hint").hidden = true;
  const mine = round;
  player.onloadedmetadata = () => {
    if (mine === round && player.duration >= LONG) cards.forEach((card) => card.timeline());
  };
  player.onerror = () => {
    if (mine !== round) return;
    player.hidden = true;
    $("hint").hidden = false;
    $("hint").textContent = "This browser cannot play the video; the labels come from the server.";
  };
  for (const card of cards) card.classify();
}

player.ontimeupdate = () => {
  if (stopAt !== null && player.currentTime >= stopAt) {
    player.pause();
    stopAt = null;
  }
};
player.onclick = (event) => event.preventDefault(); // a click on the player does not open the file dialog
$("file").onchange = (event) => take(event.target.files[0]);
const drop = $("drop");
drop.onkeydown = (event) => { if (event.key === "Enter" || event.key === " ") $("file").click(); };
for (const target of [document.documentElement]) {
  target.ondragover = (event) => { event.preventDefault(); drop.classList.add("over"); };
  target.ondragleave = () => drop.classList.remove("over");
  target.ondrop = (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    take(event.dataTransfer.files[0]);
  };
}

ask("v1/models")
  .then((response) => response.json())
  .then((models) => models.forEach((model) => cards.push(new Card(model))))
  .catch((error) => complain(`The server does not answer: ${error.message}`));
