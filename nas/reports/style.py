"""The report's style sheet and its few lines of script; colours for light and dark pages, and for paper."""

from __future__ import annotations

STYLE = """
:root { color-scheme: light dark; --page: #f6f7f9; --card: #ffffff; --ink: #111827; --soft: #566074; --rule: #e3e7ee;
  --own: #2563eb; --rival: #d9680b; --front: #0f9d6b; --bad: #c02626; --shade: #f1f4f9; }
@media (prefers-color-scheme: dark) { :root { --page: #0d1117; --card: #161c26; --ink: #e8ecf3; --soft: #a1adbf;
  --rule: #2a3342; --own: #6ea8ff; --rival: #ffa657; --front: #4bd6a0; --bad: #ff8a8a; --shade: #1d2532; } }
* { box-sizing: border-box; }
html { font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "DejaVu Sans", sans-serif;
  background: var(--page); color: var(--ink); -webkit-text-size-adjust: 100%; }
body { max-width: 1180px; margin: 0 auto; padding: 32px 20px 64px; }
header p { margin: 2px 0 0; color: var(--soft); }
h1 { font-size: 28px; line-height: 1.2; letter-spacing: -.01em; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 18px; margin: 0 0 4px; }
h3 { font-size: 15px; margin: 0 0 6px; }
section { background: var(--card); border: 1px solid var(--rule); border-radius: 12px; padding: 20px 22px;
  margin-top: 18px; }
section > p { margin: 0 0 10px; color: var(--soft); max-width: 82ch; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(190px, 1fr)); gap: 14px; margin-top: 20px; }
.tile { background: var(--card); border: 1px solid var(--rule); border-radius: 12px; padding: 14px 18px; }
.tile b { display: block; font-size: 28px; line-height: 1.25; letter-spacing: -.01em; font-weight: 650;
  font-variant-numeric: tabular-nums; }
.tile span { color: var(--soft); font-size: 13px; }
.tile .what { display: block; font-size: 13px; color: var(--soft); text-transform: none; }
.tile.first { border-color: var(--own); box-shadow: inset 0 0 0 1px var(--own); }
section > figure { max-width: 760px; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(460px, 100%), 1fr)); gap: 22px; }
figure { margin: 0; min-width: 0; }
figcaption { color: var(--soft); font-size: 13px; margin-top: 4px; }
.chart { width: 100%; height: auto; display: block; overflow: visible; font-size: 12px; }
.chart .grid { stroke: var(--rule); } .chart .axis, .chart .mark { stroke: var(--soft); }
.chart .tick, .chart .name { fill: var(--soft); } .chart .tick { font-variant-numeric: tabular-nums; }
.chart .line { fill: none; stroke-width: 2.25; stroke-linejoin: round; }
.chart .label { font-weight: 600; paint-order: stroke; stroke: var(--card); stroke-width: 4px; }
.line.own { stroke: var(--own); } .line.rival { stroke: var(--rival); stroke-dasharray: 6 3; }
.line.front { stroke: var(--front); } .line.zero { stroke: var(--soft); stroke-width: 1; stroke-dasharray: 2 3; }
.dot.own { fill: var(--own); fill-opacity: .42; } .dot.rival { fill: var(--rival); fill-opacity: .55; }
.dot.front { fill: var(--front); } .dot.strong { fill: var(--own); } .dot.strongrival { fill: var(--rival); }
.dot.picked { fill: none; stroke: var(--ink); stroke-width: 1.8; }
.label.own { fill: var(--own); } .label.rival { fill: var(--rival); } .label.front { fill: var(--front); }
.key { display: inline-block; width: 10px; height: 10px; border-radius: 50%; margin: 0 5px 0 12px; }
.entry { white-space: nowrap; }
.key.own { background: var(--own); } .key.rival { background: var(--rival); } .key.front { background: var(--front); }
.key.picked { border: 2px solid var(--ink); }
.drawn { background: #ffffff; border: 1px solid var(--rule); border-radius: 10px; padding: 6px; overflow-x: auto; }
.drawn svg { display: block; max-width: 100%; height: auto; margin: 0 auto; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: 14px; }
th, td { text-align: left; padding: 6px 10px; border-bottom: 1px solid var(--rule); vertical-align: top; }
th { color: var(--soft); font-weight: 600; white-space: nowrap; }
td.number, th.number { text-align: right; }
td.long { font-size: 12.5px; max-width: 380px; white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
td.error { color: var(--bad); overflow-wrap: anywhere; }
th button { all: unset; cursor: pointer; font: inherit; color: inherit; }
th button:focus-visible, .more button:focus-visible { outline: 2px solid var(--own); outline-offset: 2px; }
th[aria-sort=ascending] button::after { content: " \\25B2"; }
th[aria-sort=descending] button::after { content: " \\25BC"; }
tr.picked td { background: var(--shade); font-weight: 600; }
code, pre { font: 13px/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; }
pre { background: var(--shade); border-radius: 8px; padding: 12px 14px; overflow-x: auto; margin: 0; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 4px 18px; margin: 0; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; font-variant-numeric: tabular-nums; }
details summary { cursor: pointer; margin: 14px 0 8px; font-weight: 600; }
.exhibits { display: flex; flex-wrap: wrap; gap: 14px; margin-bottom: 14px; }
.exhibits img { display: block; max-width: 100%; min-width: 96px; image-rendering: pixelated; border-radius: 6px; }
.attention { width: auto; } .attention th { padding: 2px 5px; white-space: pre; }
.attention td { width: 22px; height: 22px; padding: 0; border: 1px solid var(--card);
  background: color-mix(in srgb, var(--own) var(--looked-at), var(--shade)); }
.say { border-left: 3px solid var(--rival); padding: 2px 0 2px 12px; margin: 10px 0 0; }
.more { display: flex; gap: 12px; align-items: center; margin-top: 12px; color: var(--soft); }
.more button { font: inherit; color: var(--ink); background: var(--shade); border: 1px solid var(--rule);
  border-radius: 8px; padding: 4px 12px; cursor: pointer; } .more button:disabled { opacity: .4; cursor: default; }
footer { color: var(--soft); font-size: 13px; margin-top: 22px; }
@media print { :root { --page: #fff; --card: #fff; --ink: #000; --soft: #444; --rule: #ccc; --own: #1d4ed8;
  --rival: #b45309; --front: #047857; --bad: #b91c1c; --shade: #f4f4f4; } html { font-size: 11px; }
  body { max-width: none; padding: 0; } section, .tile { break-inside: avoid; border-radius: 0; }
  .more { display: none; }
  section.trials { break-inside: auto; } td.long { max-width: 200px; font-size: 9px; }
  .pair { grid-template-columns: 1fr 1fr; } .tile b { font-size: 17px; } section { padding: 12px 14px; }
  th, td { padding: 2px 6px; font-size: 10px; }
  .tiles { grid-template-columns: repeat(4, 1fr); } }
"""

SCRIPT = """
(() => {
  const data = JSON.parse(document.getElementById("trials").textContent), size = 100;
  const table = document.getElementById("table"), body = table.tBodies[0];
  const back = document.getElementById("back"), next = document.getElementById("next");
  let rows = data.rows.slice(), page = 0, by = null, down = false;
  const compare = (a, b) => a === b ? 0 : a === null ? 1 : b === null ? -1
    : (a < b ? -1 : 1) * (down ? -1 : 1);
  const show = () => {
    body.replaceChildren(...rows.slice(page * size, (page + 1) * size).map(row => {
      const line = document.createElement("tr");
      if (row[0] === data.picked) line.className = "picked";
      row.slice(0, data.kinds.length).forEach((value, i) => {
        const cell = document.createElement("td");
        cell.textContent = value === null ? "–" : typeof value === "number" && !Number.isInteger(value)
          ? Number(value.toPrecision(4)) : value;
        cell.className = data.kinds[i];
        if (data.kinds[i] === "long") cell.title = value;
        line.append(cell);
      });
      return line;
    }));
    const last = Math.min(rows.length, (page + 1) * size);
    document.getElementById("shown").textContent = `${page * size + 1} to ${last} of ${rows.length}`;
    back.disabled = page === 0;
    next.disabled = last >= rows.length;
  };
  table.querySelectorAll("th button").forEach((button, i) => button.addEventListener("click", () => {
    down = by === i ? !down : false;
    by = i;
    rows.sort((a, b) => compare(a[i], b[i]));
    table.querySelectorAll("th").forEach((head, j) => j === i
      ? head.setAttribute("aria-sort", down ? "descending" : "ascending") : head.removeAttribute("aria-sort"));
    page = 0;
    show();
  }));
  back.addEventListener("click", () => { page -= 1; show(); });
  next.addEventListener("click", () => { page += 1; show(); });
  document.getElementById("more").hidden = false;
  show();
})();
"""
