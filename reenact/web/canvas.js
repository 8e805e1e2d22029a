// Draws what the worker sorts (WebGL2).
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
uniform sampler2D drawn; uniform vec4 behind; out vec4 result;
void main() {
  vec4 c = texelFetch(drawn, ivec2(gl_FragCoord.xy), 0);
  result = c + (1.0 - c.a) * behind;
}`;

/** Draws on a canvas element over a colour [3], or over what the page shows beneath where that is null. */
class Canvas {
  constructor(element, background) {
    this.element = element;
    this.behind = background ? [...background, 1] : [0, 0, 0, 0];
    const gl = (this.gl = element.getContext("webgl2", { alpha: !background, antialias: false, powerPreference: "high-performance" }));
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
    gl.uniform4fv(this.over.at.behind, this.behind);
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
