// Draws the avatar's Gaussians in the page, as the viewer tells it: camera and codes come, the worker poses and sorts.
"use strict";

const SLOW = 300; // milliseconds of a picture from which on one is enough to know

window.studioSplats = async (url, shown) => {
  const bytes = await (await fetch(url)).arrayBuffer();
  const size = new DataView(bytes).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(bytes, 4, size)));
  const data = bytes.slice(4 + size);
  const element = document.createElement("canvas");
  element.id = "studio-splats";
  const canvas = new Canvas(element, null);
  const worker = new Worker("/studio/worker.js");
  worker.postMessage({ header, bytes: data }, [data]);
  let wanted = null, waiting = null, spare = null, posed = "";

  const next = () => {
    if (waiting || !wanted) return;
    const codes = wanted.codes.join();
    waiting = { ...wanted, inHead: times(Float32Array.from(wanted.view), Float32Array.from(wanted.head)) };
    wanted = null;
    const pose = codes === posed ? null : Float32Array.from(waiting.codes);
    posed = codes;
    worker.postMessage({ codes: pose, view: waiting.inHead, rows: spare });
    spare = null;
  };
  worker.onmessage = ({ data: { rows, count } }) => {
    const order = waiting;
    canvas.draw(rows, count, order.inHead, order.lens, order.width, order.height);
    const [x, y] = order.corner, [width, height] = order.window;
    const share = (part, whole) => (100 * part) / whole + "%";
    Object.assign(element.style, { left: share(x, width), top: share(y, height) });
    Object.assign(element.style, { width: share(order.width, width), height: share(order.height, height) });
    spare = rows;
    waiting = null;
    (order.done || shown)(order.number);
    next();
  };

  const software = () => {
    const info = canvas.gl.getExtension("WEBGL_debug_renderer_info");
    return /swiftshader|llvmpipe|software|basic render/i.test(info ? canvas.gl.getParameter(info.UNMASKED_RENDERER_WEBGL) : "");
  };
  /** Median milliseconds from an order to its finished picture, the face moving. */
  const trial = async (order) => {
    const taken = [];
    for (let i = 0; i < 8 && (taken[0] || 0) < SLOW; i++) {
      const began = performance.now(), codes = order.codes.map((value) => value + 0.01 * (i % 2));
      await new Promise((done) => {
        wanted = { ...order, codes, done };
        next();
      });
      canvas.gl.readPixels(0, 0, 1, 1, canvas.gl.RGBA, canvas.gl.UNSIGNED_BYTE, new Uint8Array(4));
      if (i >= 2) taken.push(performance.now() - began);
    }
    return taken.sort((a, b) => a - b)[taken.length >> 1];
  };
  const draw = (order) => {
    wanted = order;
    next();
  };
  return { element, draw, trial, software };
};
