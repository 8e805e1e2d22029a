// The studio's part of the page: the link's state, sound in step with the pictures, the mouse for the gaze, help.
// The viewer talks to it through viser's storage messages, whose keys end in "studio:<name>"; nothing is stored.
(() => {
  "use strict";
  const answers = {};
  const orders = {};
  const own = (key) => {
    const at = String(key).lastIndexOf("studio:");
    return at < 0 ? null : String(key).slice(at + 7);
  };
  const { getItem, setItem } = Storage.prototype;
  Storage.prototype.getItem = function (key) {
    const name = own(key);
    return name in answers ? JSON.stringify(answers[name]()) : getItem.call(this, key);
  };
  Storage.prototype.setItem = function (key, value) {
    const name = own(key);
    if (name in orders) orders[name](JSON.parse(value));
    else setItem.call(this, key, value);
  };

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

  // ---- microphone: 16 kHz, 16 bits, fetched by the viewer in pieces ----------------------------------------------
  const RATE = 16000;
  let microphone = null;
  orders.microphone = async ({ on }) => {
    if (microphone) {
      microphone.stream.getTracks().forEach((track) => track.stop());
      microphone.context.close();
      microphone = null;
    }
    if (!on || !navigator.mediaDevices) return;
    try {
      const stream = await navigator.mediaDevices.getUserMedia({ audio: { channelCount: 1 } });
      const context = new AudioContext({ sampleRate: RATE });
      const node = context.createScriptProcessor(512, 1, 1);
      const heard = { stream, context, blocks: [] };
      node.onaudioprocess = (event) => {
        heard.blocks.push(Int16Array.from(event.inputBuffer.getChannelData(0), (x) => Math.max(-1, Math.min(1, x)) * 32767));
        if (heard.blocks.length > 90) heard.blocks.shift();
      };
      context.createMediaStreamSource(stream).connect(node);
      node.connect(context.destination);
      microphone = heard;
    } catch (error) {
      toast("No microphone: " + error.message);
    }
  };
  answers.microphone = () => {
    if (!microphone) return "";
    const bytes = microphone.blocks.splice(0).flatMap((block) => [...new Uint8Array(block.buffer)]);
    return btoa(String.fromCharCode(...bytes));
  };
})();
