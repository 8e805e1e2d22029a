// The studio's part of the page: pictures, the link's state, sound in step with the pictures, the mouse for the gaze,
// microphone and camera. It talks to the viewer over a websocket of its own, whose key comes in viser's storage message
// "studio:connect"; nothing is stored.
(() => {
  "use strict";
  const answers = {};
  const orders = {};
  const SOUND = 1, SIGHT = 2; // first bytes of what is sent
  let socket = null;
  const tell = (what) => socket && socket.readyState === 1 && socket.send(JSON.stringify(what));
  const sendBytes = (kind, data) => {
    if (!socket || socket.readyState !== 1 || socket.bufferedAmount > 300000) return; // late is worse than never
    const message = new Uint8Array(data.byteLength + 1);
    message[0] = kind;
    message.set(new Uint8Array(data), 1);
    socket.send(message);
  };
  const connect = ({ key }) => {
    if (socket) socket.close();
    const made = (socket = new WebSocket(location.origin.replace(/^http/, "ws") + "/studio/channel?key=" + key));
    made.binaryType = "arraybuffer";
    made.onmessage = ({ data }) => {
      if (typeof data !== "string") return hang(data);
      const told = JSON.parse(data);
      if (told.order in orders) orders[told.order](told);
      if (told.ask in answers)
        Promise.resolve(answers[told.ask](told)).then(
          (answer) => tell({ number: told.number, answer }),
          () => tell({ number: told.number, answer: null }),
        );
    };
    newest = 0;
    made.onopen = () => { tab = ""; look(); };
    made.onclose = () => made === socket && leave();
  };
  const { setItem } = Storage.prototype;
  Storage.prototype.setItem = function (key, value) {
    if (String(key).endsWith("studio:connect")) connect(JSON.parse(value));
    else setItem.call(this, key, value);
  };

  // ---- pictures: on a layer under viser's canvas, which draws nothing while nothing is in its space ---------------
  const style = document.createElement("style");
  style.textContent =
    "#webgl-software-rendering{display:none}" + // news to nobody here: pictures come finished
    "#studio-picture,#studio-splats{position:absolute;inset:0;width:100%;height:100%;z-index:-1;pointer-events:none}" +
    ".studio-whole #studio-splats{visibility:hidden}" +
    ".studio-empty canvas[data-engine]{opacity:0}";
  document.head.append(style);
  const layer = document.createElement("canvas");
  layer.id = "studio-picture";
  const paper = layer.getContext("bitmaprenderer");
  let newest = 0; // of the one on the layer
  let isTelling = false;
  let inSpace = false;
  const isEmpty = () => !inSpace && layer.isConnected;
  const arrange = () => document.body && document.body.classList.toggle("studio-empty", isEmpty());
  const place = () => {
    const canvas = document.querySelector("canvas[data-engine]");
    if (canvas && layer.parentNode !== canvas.parentNode) canvas.parentNode.prepend(layer);
    arrange();
  };
  /** A picture is shown with the next frame of the screen: a hidden page has none, and gets no more. */
  const shown = (number) => {
    newest = Math.max(newest, number);
    const poster = document.getElementById("studio-poster");
    if (poster) poster.remove();
    if (isTelling) return;
    isTelling = true;
    requestAnimationFrame(() => {
      isTelling = false;
      tell({ shown: newest });
    });
  };
  const hang = async (data) => {
    const view = new DataView(data), number = view.getUint32(0, true), isBeneath = view.getUint8(4) === 1;
    const bitmap = await createImageBitmap(new Blob([new Uint8Array(data, 5)], { type: "image/jpeg" }));
    if (number < newest && !isBeneath) return bitmap.close();
    paper.transferFromImageBitmap(bitmap);
    if (!layer.isConnected) place();
    if (isBeneath) return;
    document.body.classList.add("studio-whole");
    shown(number);
  };
  let painter = null; // draws the avatar in the page, where that is faster
  const script = (url) =>
    new Promise((done, failed) => {
      const element = Object.assign(document.createElement("script"), { src: url, onload: done, onerror: failed });
      document.head.append(element);
    });
  answers.trial = async ({ url, force, ...order }) => {
    if (!window.studioSplats) {
      await script("/studio/canvas.js");
      await script("/studio/splats.js");
    }
    if (painter) painter.element.remove();
    painter = await window.studioSplats(url, (number) => {
      document.body.classList.remove("studio-whole");
      shown(number);
    });
    if (painter.software() && !force) return { ms: null };
    const ms = await painter.trial(order);
    place();
    layer.after(painter.element);
    return { ms };
  };
  orders.draw = (order) => painter && painter.draw(order);
  const leave = () => {
    newest = 0;
    if (painter) painter.element.remove();
    layer.remove();
    arrange();
  };
  orders.space = ({ shown }) => {
    inSpace = shown;
    arrange();
  };
  const { getContext } = HTMLCanvasElement.prototype;
  HTMLCanvasElement.prototype.getContext = function (kind, ...rest) {
    const context = getContext.call(this, kind, ...rest);
    if (!context || !/^webgl/.test(kind) || !this.dataset.engine || context.studio) return context;
    context.studio = true;
    let isScreen = true; // else it draws into a picture of its own, such as the light of its surroundings
    const { bindFramebuffer } = context;
    context.bindFramebuffer = function (target, buffer) {
      isScreen = !buffer;
      bindFramebuffer.call(context, target, buffer);
    };
    for (const name of ["clear", "drawArrays", "drawElements", "drawArraysInstanced", "drawElementsInstanced"]) {
      const usual = context[name];
      context[name] = (...args) => void ((isScreen && isEmpty()) || usual.apply(context, args));
    }
    return context;
  };

  // ---- the tab that is open: only its controls need to follow the face --------------------------------------------
  let tab = "";
  const look = () => {
    const open = document.querySelector("[role=tab][aria-selected=true]");
    if (!open || open.textContent === tab) return;
    tab = open.textContent;
    tell({ tab });
  };
  addEventListener("click", () => setTimeout(look));
  setInterval(look, 500);

  // ---- link: the state that was shared, without the token ---------------------------------------------------
  const query = new URLSearchParams(location.search);
  const shared = query.get("view");
  if (query.has("token")) {
    query.delete("token");
    const rest = query.toString();
    history.replaceState(null, "", location.pathname + (rest ? "?" + rest : ""));
  }
  answers.view = () => shared;
  answers.clock = () => performance.now();
  orders.link = ({ view }) => {
    const url = location.origin + "/?view=" + encodeURIComponent(view);
    history.replaceState(null, "", url);
    const done = (ok) => toast(ok ? "Link copied" : "The link stands in the address bar");
    if (!navigator.clipboard) return done(false);
    navigator.clipboard.writeText(url).then(() => done(true), () => done(false));
  };

  // ---- short notes ------------------------------------------------------------------------------------------
  const toast = (text, onClick) => {
    const box = document.createElement("div");
    box.textContent = text;
    box.className = "studio-toast";
    box.style.cssText =
      "position:fixed;left:50%;bottom:32px;transform:translateX(-50%);z-index:10000;padding:10px 18px;" +
      "border-radius:8px;background:#20242cee;color:#fff;font:14px system-ui;box-shadow:0 4px 18px #0006;" +
      (onClick ? "cursor:pointer" : "pointer-events:none");
    if (onClick) box.onclick = onClick;
    document.body.appendChild(box);
    if (!onClick) setTimeout(() => box.remove(), 2500);
    return box;
  };

  // ---- sound: follows the viewer's clock ----------------------------------------------------------------------
  const audio = new Audio();
  audio.preload = "auto";
  audio.preservesPitch = true;
  let wish = null; // {url, playing, position, at, rate, length, loops, delay}; seconds, at: this page's milliseconds
  let loaded = "";
  let asks = null;
  let primed = false;
  const target = (now) => {
    if (!wish.playing) return wish.position;
    const position = wish.position + ((now - wish.at) / 1000) * wish.rate - wish.delay * wish.rate;
    if (wish.loops && wish.length > 0) return ((position % wish.length) + wish.length) % wish.length;
    return Math.max(0, position);
  };
  const load = async (url) => {
    loaded = url;
    const blob = await (await fetch(url)).blob(); // a blob can be sought in
    if (audio.src) URL.revokeObjectURL(audio.src);
    audio.src = URL.createObjectURL(blob);
  };
  const follow = () => {
    if (!wish || !wish.url || audio.readyState < 2) return;
    const now = performance.now();
    const place = target(now);
    if (!wish.playing || place >= audio.duration) {
      if (!audio.paused) audio.pause();
      return;
    }
    if (audio.paused) {
      audio.currentTime = place;
      audio.playbackRate = wish.rate;
      audio.play().then(
        () => asks && (asks.remove(), (asks = null)),
        () => {
          asks = asks || toast("Click for sound", () => (asks.remove(), (asks = null), follow()));
        },
      );
      primed = false;
      return;
    }
    let error = audio.currentTime - place;
    if (wish.loops && wish.length > 0) error -= wish.length * Math.round(error / wish.length);
    if (Math.abs(error) > 0.12 || (!primed && Math.abs(error) > 0.015)) {
      audio.currentTime = target(performance.now()) + (primed ? 0 : 0.01);
      primed = true;
    } else {
      primed = true;
      const bend = Math.abs(error) < 0.006 ? 0 : Math.max(-0.06, Math.min(0.06, -error * 0.8));
      audio.playbackRate = wish.rate * (1 + bend);
    }
  };
  orders.sound = (order) => {
    wish = order;
    if (order.url && order.url !== loaded) load(order.url);
    follow();
  };
  setInterval(follow, 200);
  answers.sound = () => ({
    time: audio.currentTime,
    now: performance.now(),
    playing: !audio.paused,
    blocked: asks !== null,
    target: wish ? target(performance.now()) : null,
  });

  // ---- the mouse over the picture, -1..1 to the right and up ---------------------------------------------------
  let pointer = null;
  addEventListener(
    "pointermove",
    (event) => {
      const canvas = document.querySelector("canvas[data-engine]");
      if (!canvas) return;
      const box = canvas.getBoundingClientRect();
      pointer = [
        ((event.clientX - box.left) / box.width) * 2 - 1,
        1 - ((event.clientY - box.top) / box.height) * 2,
      ];
    },
    { passive: true },
  );
  answers.pointer = () => pointer;

  // ---- microphone: 16 kHz, 16 bits; camera: JPEG -------------------------------------------------------------------
  const RATE = 16000;
  const EYE = { width: 640, height: 480, rate: 25, quality: 0.85 };
  let microphone = null;
  let camera = null;
  const stopped = (device) => device && device.stream.getTracks().forEach((track) => track.stop());
  const allowed = async (wish) => {
    if (!navigator.mediaDevices) throw new Error("browsers lend it to https and 127.0.0.1 only");
    return navigator.mediaDevices.getUserMedia(wish);
  };
  orders.microphone = async ({ on }) => {
    if (microphone) microphone.context.close();
    stopped(microphone);
    microphone = null;
    if (!on) return;
    try {
      const stream = await allowed({ audio: { channelCount: 1 } });
      const context = new AudioContext({ sampleRate: RATE });
      const node = context.createScriptProcessor(512, 1, 1);
      node.onaudioprocess = (event) => {
        const heard = event.inputBuffer.getChannelData(0);
        sendBytes(SOUND, Int16Array.from(heard, (x) => Math.max(-1, Math.min(1, x)) * 32767).buffer);
      };
      context.createMediaStreamSource(stream).connect(node);
      node.connect(context.destination);
      microphone = { stream, context };
    } catch (error) {
      toast("No microphone: " + error.message);
      tell({ refused: "microphone" });
    }
  };
  orders.camera = async ({ on }) => {
    stopped(camera);
    camera = null;
    if (!on) return;
    try {
      const stream = await allowed({ video: { width: EYE.width, height: EYE.height, frameRate: EYE.rate } });
      const video = Object.assign(document.createElement("video"), { srcObject: stream, muted: true });
      await video.play();
      const mine = (camera = { stream });
      const sheet = document.createElement("canvas");
      const paint = sheet.getContext("2d");
      const see = () => {
        if (camera !== mine) return;
        const began = performance.now();
        sheet.width = video.videoWidth;
        sheet.height = video.videoHeight;
        paint.drawImage(video, 0, 0);
        sheet.toBlob(async (blob) => {
          if (blob) sendBytes(SIGHT, await blob.arrayBuffer());
          setTimeout(see, Math.max(0, 1000 / EYE.rate - (performance.now() - began)));
        }, "image/jpeg", EYE.quality);
      };
      see();
    } catch (error) {
      toast("No camera: " + error.message);
      tell({ refused: "camera" });
    }
  };
})();
