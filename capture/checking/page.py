"""The report as one HTML page that needs nothing else: no scripts, no files, no fonts from elsewhere."""

from __future__ import annotations

import base64
from html import escape

import cv2
import numpy as np

from capture.checking.drawings import drawing
from capture.checking.finding import STATES, Finding, Photos, State, Verdict
from capture.checking.run import Report

_WORDS: dict[State, str] = {"bad": "mend", "note": "note", "unknown": "not measured", "ok": "fine"}
_PHOTO_PIXELS, _JPEG_QUALITY = 360, 82
_STYLE = """
:root { --ink:#1d2430; --soft:#5b6675; --line:#dfe4ea; --paper:#fff; --ground:#f4f6f8;
  --bad:#b3261e; --note:#9a6700; --unknown:#5b6675; --ok:#1a7f4b; --blue:#2f6fb5 }
* { box-sizing:border-box }
body { margin:0; background:var(--ground); color:var(--ink);
  font:15px/1.5 system-ui,-apple-system,"Segoe UI",sans-serif }
main { max-width:1040px; margin:0 auto; padding:32px 20px 80px }
h1 { font-size:26px; margin:0 0 2px } h2 { font-size:18px; margin:0 } h3 { font-size:13px; color:var(--soft);
  margin:18px 0 6px; font-weight:600 }
.sub { color:var(--soft); margin:0 0 20px }
.sum { display:flex; flex-wrap:wrap; gap:12px; margin:0 0 22px }
.tile { background:var(--paper); border:1px solid var(--line); border-radius:10px; padding:10px 18px;
  min-width:120px }
.tile b { display:block; font-size:26px; line-height:1.2 } .tile span { color:var(--soft) }
.card { background:var(--paper); border:1px solid var(--line); border-left:5px solid var(--line);
  border-radius:10px; padding:16px 20px; margin:14px 0 }
.card.bad { border-left-color:var(--bad) } .card.note { border-left-color:var(--note) }
.card.ok { border-left-color:var(--ok) } .card.unknown { border-left-color:#aab3bf }
.head { display:flex; gap:12px; align-items:baseline; flex-wrap:wrap } .head p { margin:0; color:var(--soft) }
.chip { font-size:12px; font-weight:700; border-radius:99px; padding:2px 10px; color:#fff; white-space:nowrap }
.chip.bad { background:var(--bad) } .chip.note { background:var(--note) } .chip.ok { background:var(--ok) }
  .chip.unknown { background:#8a94a1 }
ul { list-style:none; margin:10px 0 0; padding:0 } li { padding:7px 0; border-top:1px solid var(--line) }
  li:first-child { border-top:0 }
li.bad::before, li.note::before { content:"●"; margin-right:8px } li.bad::before { color:var(--bad) }
  li.note::before { color:var(--note) }
li em { display:block; font-style:normal; color:var(--soft) } li em::before { content:"→ " }
.photos { display:flex; flex-wrap:wrap; gap:12px } figure { margin:0 } figure img { display:block;
  border-radius:6px; max-width:100% }
figcaption { font-size:12px; color:var(--soft); margin-top:3px }
svg { max-width:100%; height:auto; display:block } svg text { font:11px system-ui,sans-serif; fill:var(--soft) }
details summary { cursor:pointer; color:var(--blue); margin-top:12px }
.list { margin:0 0 24px } .list a { color:inherit; text-decoration:none; display:flex; gap:10px;
  align-items:baseline; padding:5px 0 }
.list a:hover b { text-decoration:underline }
footer { color:var(--soft); font-size:13px; margin-top:30px }
@media print { body { background:#fff } .card { break-inside:avoid } }
"""


def page(report: Report) -> str:
    """The page's text."""
    capture = report.evidence.capture
    title = f"{capture.folder.parent.name}/{capture.folder.name}".strip("/")
    looked = len(report.evidence.timesteps) * len(report.evidence.names)
    long = f", {len(capture) / capture.fps:.1f} s at {capture.fps:g} frames/s" if capture.fps else ", a single moment"
    many = "" if looked == len(capture) * len(report.evidence.names) else f"; {looked} pictures looked at"
    size = f"{capture.cameras.width}×{capture.cameras.height}"
    tiles = "".join(
        f'<div class="tile"><b style="color:var(--{state})">{report.count(state)}</b><span>{_WORDS[state]}</span></div>'
        for state in STATES
    )
    urgent = "".join(
        f'<a href="#{name}">{_chip(verdict)}<b>{escape(check.title)}</b><span>{escape(_first(verdict))}</span></a>'
        for name, (check, verdict) in report.verdicts.items()
    )
    cards = "".join(_card(name, *item) for name, item in report.verdicts.items())
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Check of {escape(title)}</title><style>{_STYLE}</style></head><body><main>
<h1>{escape(_headline(report))}</h1>
<p class="sub">{escape(title)}: {_count(len(report.evidence.names), "camera")} of {size} pixels,
{_count(len(capture), "frame")}{long}{many}</p>
<div class="sum">{tiles}</div>
<nav class="list">{urgent}</nav>
{cards}
<footer>Made by <code>studio check</code>. It holds pictures of the person who was filmed: treat it like the footage.
</footer>
</main></body></html>
"""


def _chip(verdict: Verdict) -> str:
    return f'<span class="chip {verdict.state}">{_WORDS[verdict.state]}</span>'


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def _headline(report: Report) -> str:
    bad, notes = report.count("bad"), report.count("note")
    if bad:
        return f"{_count(bad, 'problem')} to mend before training"
    return f"Ready to train, with {_count(notes, 'note')}" if notes else "Ready to train"


def _first(verdict: Verdict) -> str:
    text = next(item.found for item in verdict.findings if item.state == verdict.state)
    return text if len(text) < 110 else text[:108] + "…"


def _card(name: str, check: object, verdict: Verdict) -> str:
    lines = "".join(_line(item) for item in verdict.findings)
    figures = "".join(_figure(item) for item in verdict.figures)
    if figures and verdict.state in ("ok", "unknown"):
        figures = f"<details><summary>show what was measured</summary>{figures}</details>"
    title, question = getattr(check, "title", ""), getattr(check, "question", "")
    return f"""<section class="card {verdict.state}" id="{name}"><div class="head">
{_chip(verdict)}<h2>{escape(title)}</h2><p>{escape(question)}</p></div>
<ul>{lines}</ul>{figures}</section>
"""


def _line(item: Finding) -> str:
    advice = f"<em>{escape(item.advice)}</em>" if item.advice else ""
    return f'<li class="{item.state}">{escape(item.found)}{advice}</li>'


def _figure(item: object) -> str:
    if isinstance(item, Photos):
        photos = "".join(
            f"<figure>{_image(image)}<figcaption>{escape(caption)}</figcaption></figure>"
            for caption, image in item.items
        )
        return f'<h3>{escape(item.title)}</h3><div class="photos">{photos}</div>'
    return f"<h3>{escape(getattr(item, 'title', ''))}</h3>{drawing(item)}"


def _image(image: np.ndarray) -> str:
    scale = min(_PHOTO_PIXELS / max(image.shape[:2]), 1.0)
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else image
    options = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    _, data = cv2.imencode(".jpg", cv2.cvtColor(np.ascontiguousarray(small), cv2.COLOR_RGB2BGR), options)
    text = base64.b64encode(data.tobytes()).decode()
    return f'<img alt="" width="{small.shape[1]}" height="{small.shape[0]}" src="data:image/jpeg;base64,{text}">'
