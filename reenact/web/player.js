// Draws what the worker sorts (WebGL2), and takes care of camera, sliders and performance.
"use strict";

const VERTEX = `#version 300 es
precision highp float;
layout(location=0) in vec4 place; layout(location=1) in vec4 spread; layout(location=2) in vec4 rest; layout(location=3) in float blue;
uniform mat4 view; uniform vec4 lens; uniform vec2 size;
flat out vec2 middle; flat out vec3 conic; flat out vec4 color;
void main() {
  vec3 c = (view * vec4(place.xyz, 1.0)).xyz;
  mat3 W = mat3(view);
  mat3 S = mat3(spread.x, spread.y, spread.z, spread.y, spread.w, rest.x, spread.z, rest.x, rest.y);
  vec2 focal = lens.xy, principal = lens.zw, margin = 0.15 * size / focal;
  vec2 slope = c.xy / c.z;
  vec2 held = clamp(slope, -principal / focal - margin, (size - principal) / focal + margin);
  vec3 jx = vec3(focal.x, 0.0, -focal.x * held.x) / c.z * W, jy = vec3(0.0, focal.y, -focal.y * held.y) / c.z * W;
  float xx = dot(jx, S * jx) + 0.3, xy = dot(jx, S * jy), yy = dot(jy, S * jy) + 0.3;
  float det = max(xx * yy - xy * xy, 1e-12);
  conic = vec3(yy, -xy, xx) / det;
  middle = slope * focal + principal;
  color = vec4(rest.zw, blue, place.w);
  float reach = 2.0 * log(255.0 * place.w);
  vec2 corner = vec2(gl_VertexID & 1, gl_VertexID >> 1) * 2.0 - 1.0;
  vec2 at = middle + corner * sqrt(max(reach, 0.0) * vec2(xx, yy));
  gl_Position = reach > 0.0 ? vec4(at.x / size.x * 2.0 - 1.0, 1.0 - at.y / size.y * 2.0, 0.0, 1.0) : vec4(2.0, 2.0, 2.0, 1.0);
}`;
const FRAGMENT = `#version 300 es
precision highp float;
flat in vec2 middle; flat in vec3 conic; flat in vec4 color;
uniform vec2 size; out vec4 result;
void main() {
  vec2 d = vec2(gl_FragCoord.x, size.y - gl_FragCoord.y) - middle;
  float a = color.a * exp(-0.5 * (conic.x * d.x * d.x + 2.0 * conic.y * d.x * d.y + conic.z * d.y * d.y));
  if (a < 1.0 / 255.0) discard;
  a = min(a, 0.999);
  result = vec4(color.rgb * a, a);
}`;
const WHOLE = `#version 300 es
void main() { gl_Position = vec4(vec2(gl_VertexID & 1, gl_VertexID >> 1) * 4.0 - 1.0, 0.0, 1.0); }`;
const OVER = `#version 300 es
precision highp float;
uniform sampler2D drawn; uniform vec3 behind; out vec4 result;
void main() {
  vec4 c = texelFetch(drawn, ivec2(gl_FragCoord.xy), 0);
  result = vec4(c.rgb + (1.0 - c.a) * behind, 1.0);
}`;

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

class Canvas {
  constructor(element, background) {
    this.element = element;
    this.background = background;
    const gl = (this.gl = element.getContext("webgl2", { alpha: false, antialias: false, powerPreference: "high-performance" }));
    if (!gl) throw new Error("This browser has no WebGL2; a newer one shows the avatar.");
    this.exact = gl.getExtension("EXT_color_buffer_half_float") || gl.getExtension("EXT_color_buffer_float");
    this.splats = this.program(VERTEX, FRAGMENT);
    this.over = this.program(WHOLE, OVER);
    this.shape = gl.createVertexArray();
    gl.bindVertexArray(this.shape);
    this.buffer = gl.createBuffer();
    gl.bindBuffer(gl.ARRAY_BUFFER, this.buffer);
    for (const [index, width, offset] of [[0, 4, 0], [1, 4, 16], [2, 4, 32], [3, 1, 48]]) {
      gl.enableVertexAttribArray(index);
      gl.vertexAttribPointer(index, width, gl.FLOAT, false, 64, offset);
      gl.vertexAttribDivisor(index, 1);
    }
    this.none = gl.createVertexArray();
    this.target = null;
    gl.disable(gl.DEPTH_TEST);
  }

  program(vertex, fragment) {
    const gl = this.gl, program = gl.createProgram();
    for (const [kind, source] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error("The graphics driver refuses the shaders.");
    const names = ["view", "lens", "size", "drawn", "behind"];
    return { program, at: Object.fromEntries(names.map((name) => [name, gl.getUniformLocation(program, name)])) };
  }

  /** A picture to add up in, of half floats where there are any: 8 bits would round at every layer. */
  resize(width, height) {
    const gl = this.gl;
    if (this.target && this.element.width === width && this.element.height === height) return;
    if (this.target) { gl.deleteTexture(this.target.texture); gl.deleteFramebuffer(this.target.frame); }
    this.element.width = width;
    this.element.height = height;
    const texture = gl.createTexture(), frame = gl.createFramebuffer();
    gl.bindTexture(gl.TEXTURE_2D, texture);
    gl.texStorage2D(gl.TEXTURE_2D, 1, this.exact ? gl.RGBA16F : gl.RGBA8, width, height);
    gl.bindFramebuffer(gl.FRAMEBUFFER, frame);
    gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, texture, 0);
    this.target = { texture, frame };
  }

  /** Draw sorted rows; view is row by row, lens is fx fy cx cy in pixels, y down. */
  draw(rows, count, view, lens, width, height) {
    const gl = this.gl;
    this.resize(width, height);
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.target.frame);
    gl.viewport(0, 0, width, height);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT);
    gl.useProgram(this.splats.program);
    gl.uniformMatrix4fv(this.splats.at.view, true, view);
    gl.uniform4fv(this.splats.at.lens, lens);
    gl.uniform2f(this.splats.at.size, width, height);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    gl.bindVertexArray(this.shape);
    gl.bindBuffer(gl.ARRAY_BUFFER, this.buffer);
    gl.bufferData(gl.ARRAY_BUFFER, rows, gl.STREAM_DRAW, 0, 16 * count);
    gl.drawArraysInstanced(gl.TRIANGLE_STRIP, 0, 4, count);
    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
    gl.disable(gl.BLEND);
    gl.useProgram(this.over.program);
    gl.bindVertexArray(this.none);
    gl.bindTexture(gl.TEXTURE_2D, this.target.texture);
    gl.uniform3fv(this.over.at.behind, this.background);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
  }

  /** RGBA of the picture just drawn, the top row first. */
  pixels() {
    const gl = this.gl, { width, height } = this.element, raw = new Uint8Array(4 * width * height);
    gl.readPixels(0, 0, width, height, gl.RGBA, gl.UNSIGNED_BYTE, raw);
    const upright = new Uint8Array(raw.length), row = 4 * width;
    for (let y = 0; y < height; y++) upright.set(raw.subarray(row * y, row * (y + 1)), row * (height - 1 - y));
    return upright;
  }
}

/** The product of two 4 x 4 matrices, row by row. */
function times(a, b) {
  const out = new Float32Array(16);
  for (let i = 0; i < 16; i++) for (let k = 0; k < 4; k++) out[i] += a[(i & 12) + k] * b[4 * k + (i & 3)];
  return out;
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
