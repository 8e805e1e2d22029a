// Takes care of camera, sliders and performance; what is drawn comes from the worker.
"use strict";

function say(text) {
  const line = document.getElementById("line");
  line.textContent = text;
  line.hidden = !text;
}

/** Bytes of base64 text, which also pages opened from a disk may read. */
function decoded(text) {
  const raw = atob(text), bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
  return bytes.buffer;
}

/** Where the camera is: the avatar's own view, turned about the middle of the head by the hand. */
class Orbit {
  constructor(element, camera, target, changed) {
    Object.assign(this, { camera, target, changed, yaw: 0, pitch: 0, zoom: 1, fingers: new Map() });
    element.addEventListener("pointerdown", (event) => {
      element.setPointerCapture(event.pointerId);
      this.fingers.set(event.pointerId, [event.clientX, event.clientY]);
    });
    for (const name of ["pointerup", "pointercancel"]) element.addEventListener(name, (e) => this.fingers.delete(e.pointerId));
    element.addEventListener("pointermove", (event) => this.drag(event));
    element.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoomBy(Math.exp(0.001 * event.deltaY));
    }, { passive: false });
    element.addEventListener("dblclick", () => { this.yaw = this.pitch = 0; this.zoom = 1; changed(); });
  }

  drag(event) {
    const before = this.fingers.get(event.pointerId);
    if (!before) return;
    const now = [event.clientX, event.clientY], others = [...this.fingers].filter(([id]) => id !== event.pointerId);
    if (others.length) {
      const far = (p) => Math.hypot(p[0] - others[0][1][0], p[1] - others[0][1][1]);
      this.zoomBy(far(before) / Math.max(far(now), 1));
    } else {
      this.yaw += 0.008 * (now[0] - before[0]);
      this.pitch = Math.min(Math.max(this.pitch + 0.008 * (now[1] - before[1]), -1.2), 1.2);
    }
    this.fingers.set(event.pointerId, now);
    this.changed();
  }

  zoomBy(factor) {
    this.zoom = Math.min(Math.max(this.zoom * factor, 0.3), 4);
    this.changed();
  }

  /** World to camera. */
  view() {
    const V = Float32Array.from(this.camera.view), [x, y, z] = this.target;
    const at = [0, 1, 2].map((r) => V[4 * r] * x + V[4 * r + 1] * y + V[4 * r + 2] * z + V[4 * r + 3]);
    const [c, s] = [Math.cos(this.yaw), Math.sin(this.yaw)], [d, t] = [Math.cos(this.pitch), Math.sin(this.pitch)];
    const turn = Float32Array.of(c, 0, s, x - c * x - s * z, 0, 1, 0, 0, -s, 0, c, z + s * x - c * z, 0, 0, 0, 1);
    const tilt = Float32Array.of(1, 0, 0, 0, 0, d, t, at[1] - d * at[1] - t * at[2], 0, -t, d, at[2] + t * at[1] - d * at[2], 0, 0, 0, 1);
    const back = Float32Array.of(1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, at[2] * (this.zoom - 1), 0, 0, 0, 1);
    return times(back, times(tilt, times(V, turn)));
  }

  /** fx fy cx cy for a picture in which all that the avatar's camera sees has room. */
  lens(width, height) {
    const { lens, width: w, height: h } = this.camera, s = Math.min(width / w, height / h);
    return [s * lens[0], s * lens[1], 0.5 * width + s * (lens[2] - 0.5 * w), 0.5 * height + s * (lens[3] - 0.5 * h)];
  }
}

class Player {
  constructor({ header, data }) {
    this.header = header;
    this.canvas = new Canvas(document.getElementById("canvas"), header.background);
    const bytes = decoded(data), perform = header.performance;
    if (perform) {
      this.codesOverTime = new Float32Array(bytes, perform.codes, perform.frames * header.neutral.length);
      this.headOverTime = new Float32Array(bytes, perform.head, perform.frames * 16);
    }
    this.worker = new Worker(URL.createObjectURL(new Blob([document.getElementById("worker").textContent])));
    this.worker.onmessage = ({ data: reply }) => this.drawn(reply);
    this.worker.onerror = () => say("The avatar's data is damaged; export it again.");
    this.codes = Float32Array.from(header.neutral);
    this.head = Float32Array.from(header.headToWorld);
    this.orbit = new Orbit(this.canvas.element, header.camera, header.target, () => this.request());
    this.posed = false;
    this.waiting = null;
    this.asked = [];
    this.worker.postMessage({ header: header, bytes });
    new ResizeObserver(() => this.request()).observe(this.canvas.element);
    this.request();
  }

  /** Draw soon: one picture at a time is on its way, the newest wish is next. */
  request(changed = false) {
    if (changed) this.posed = false;
    this.wanted = true;
    this.next();
  }

  next() {
    if (this.waiting) return;
    const wish = this.asked.shift() || (this.wanted ? this.wish() : null);
    if (!wish) return;
    const inHead = times(wish.view, wish.head);
    this.waiting = { ...wish, inHead };
    this.worker.postMessage({ codes: this.posed && !wish.codes ? null : wish.codes || this.codes, view: inHead, rows: this.spare });
    this.spare = null;
    this.posed = !wish.codes;
  }

  wish() {
    this.wanted = false;
    const box = this.canvas.element, ratio = Math.min(window.devicePixelRatio || 1, 2);
    const width = Math.max(2, Math.round(box.clientWidth * ratio)), height = Math.max(2, Math.round(box.clientHeight * ratio));
    return { view: this.orbit.view(), head: this.head, lens: this.orbit.lens(width, height), width, height };
  }

  drawn({ rows, count }) {
    const wish = this.waiting;
    this.canvas.draw(rows, count, wish.inHead, wish.lens, wish.width, wish.height);
    if (this.firstPicture === undefined) {
      this.firstPicture = performance.now();
      say("");
    }
    if (wish.answer) wish.answer(this.canvas.pixels());
    this.spare = rows;
    this.waiting = null;
    this.frames = (this.frames || 0) + 1;
    this.next();
  }

  /** The picture [height * width * 4] of a state from a camera, for tests: view [16], lens fx fy cx cy, codes, head [16]. */
  snapshot({ view, lens, width, height, codes, head }) {
    return new Promise((answer) => {
      const wish = { view: Float32Array.from(view), lens, width, height, answer };
      this.asked.push({ ...wish, codes: Float32Array.from(codes), head: Float32Array.from(head) });
      this.next();
    });
  }
}

/** A slider for every channel that moves something. */
function makeSliders(player, board) {
  const inputs = new Map();
  const groups = { Jaw: /^jaw/, Mouth: /^mouth/, Eyes: /^eye/, Brows: /^brow/, "Cheeks, nose, tongue": /^(cheek|nose|tongue)/ };
  for (const [title, pattern] of Object.entries(groups)) {
    const names = player.header.channels.filter((name, index) => pattern.test(name) && player.header.reach[index] > 0);
    if (!names.length) continue;
    const group = document.createElement("details"), summary = document.createElement("summary");
    group.open = title === "Jaw";
    summary.textContent = title;
    group.append(summary);
    for (const name of names) {
      const index = player.header.channels.indexOf(name), label = document.createElement("label");
      const input = Object.assign(document.createElement("input"), { type: "range", min: 0, step: 0.01 });
      input.max = player.header.reach[index];
      input.value = player.codes[index];
      input.dataset.channel = name;
      input.addEventListener("input", () => { player.codes[index] = +input.value; player.request(true); });
      label.append(name, input);
      group.append(label);
      inputs.set(index, input);
    }
    board.append(group);
  }
  document.getElementById("rest").addEventListener("click", () => {
    player.codes.set(player.header.neutral);
    follow(player, inputs);
    player.request(true);
  });
  return inputs;
}

function follow(player, inputs) {
  for (const [index, input] of inputs) input.value = player.codes[index];
}

/** Play, pause and seek a stored performance; its sound is the clock. */
function makePerformance(player, inputs) {
  const perform = player.header.performance, bar = document.getElementById("bar");
  if (!perform) return;
  bar.hidden = false;
  const [play, seek, sound] = ["play", "seek", "sound"].map((id) => document.getElementById(id));
  const width = player.header.neutral.length, last = perform.frames - 1;
  let clock = null; // seconds of the performance at zero of the browser's clock, while it plays
  if (perform.sound) sound.src = perform.sound;
  seek.max = last;
  const show = (frame) => {
    player.codes.set(player.codesOverTime.subarray(frame * width, (frame + 1) * width));
    player.head = player.headOverTime.slice(16 * frame, 16 * frame + 16);
    player.frame = frame;
    seek.value = frame;
    follow(player, inputs);
    player.request(true);
  };
  const now = () => (perform.sound && !sound.paused ? sound.currentTime : performance.now() / 1000 - clock);
  const tick = () => {
    if (clock === null) return;
    const frame = Math.floor(now() * perform.fps + 1e-6);
    if (frame > last) {
      show(last);
      return stop();
    }
    if (frame !== player.frame) show(Math.max(frame, 0));
    requestAnimationFrame(tick);
  };
  const stop = () => { clock = null; sound.pause(); play.textContent = "Play"; };
  play.addEventListener("click", () => {
    if (clock !== null) return stop();
    const from = +seek.value >= last ? 0 : +seek.value / perform.fps;
    clock = performance.now() / 1000 - from;
    play.textContent = "Pause";
    if (perform.sound) { sound.currentTime = from; sound.play().catch(() => {}); }
    requestAnimationFrame(tick);
  });
  seek.addEventListener("input", () => { stop(); show(+seek.value); });
}

addEventListener("load", () => {
  try {
    if (!window.AVATAR) throw new Error("avatar.js is missing beside this page; copy the whole folder.");
    const player = (window.player = new Player(window.AVATAR));
    makePerformance(player, makeSliders(player, document.getElementById("board")));
    document.getElementById("note").textContent = player.header.note;
    document.title = player.header.name;
  } catch (error) {
    say(error.message);
  }
});
