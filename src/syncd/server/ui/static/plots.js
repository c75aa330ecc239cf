// Plots of one integration, by uPlot. Whatever was changed is a line across each of them, with its name.
"use strict";
(() => {
  const holder = document.querySelector("#plots");
  if (!holder || typeof uPlot === "undefined") return;
  const style = getComputedStyle(document.documentElement), colour = (name) => style.getPropertyValue(name).trim();
  const clock = (at, seconds) => new Date(at * 1000).toISOString().slice(11, seconds ? 19 : 16);
  const scaled = (values, by) => values.map((value) => value === null ? null : value * by);
  const KINDS = {
    calls: (one) => [["calls/s", one.calls, "--fill"]],
    speed: (one) => [["p95", one.p95_ms, "--waiting"], ["p99", one.p99_ms, "--degraded"]],
    errors: (one) => [["errors %", scaled(one.errors, 100), "--down"]],
    limit: (one) => [["used %", scaled(one.limit_share, 100), "--near"]],
    lag: (one) => [["lag s", one.lag_seconds, "--paused"]],
  };
  const made = new Map();
  let marks = [];

  function draw(plot) { // dashed lines at the changes; a label each, as long as there is room for it
    const { ctx, bbox } = plot, ratio = devicePixelRatio;
    let free = -Infinity;
    ctx.save();
    ctx.strokeStyle = ctx.fillStyle = colour("--soft");
    ctx.lineWidth = ratio;
    ctx.setLineDash([4 * ratio, 3 * ratio]);
    ctx.font = `${10 * ratio}px system-ui, sans-serif`;
    for (const mark of marks) {
      const x = Math.round(plot.valToPos(Date.parse(mark.at) / 1000, "x", true));
      if (x < bbox.left || x > bbox.left + bbox.width) continue;
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
      const width = ctx.measureText(mark.kind).width + 6 * ratio;
      if (x < free) continue;
      const left = x + width > bbox.left + bbox.width;
      ctx.textAlign = left ? "right" : "left";
      ctx.fillText(mark.kind, x + (left ? -3 : 3) * ratio, bbox.top + 10 * ratio);
      free = x + width;
    }
    ctx.restore();
  }
  function axis(more) {
    const line = { stroke: colour("--line"), width: 1 };
    return { stroke: colour("--soft"), grid: line, ticks: line, font: "11px system-ui, sans-serif", ...more };
  }
  function plot(box, told) {
    const one = told.integrations[box.dataset.name];
    const series = one ? KINDS[box.dataset.plot](one) : [];
    if (!series.some(([, values]) => values.some((value) => value !== null))) {
      if (!made.has(box)) box.dataset.empty = "nothing measured yet";
      return;
    }
    delete box.dataset.empty;
    const data = [told.times, ...series.map(([, values]) => values)];
    if (made.has(box)) return made.get(box).setData(data);
    made.set(box, new uPlot({
      width: box.clientWidth, height: 170,
      cursor: { drag: { x: false, y: false } },
      scales: { y: { range: (_, low, high) => [0, high > 0 ? high * 1.1 : 1] } },
      axes: [axis({ space: 70, size: 30, values: (_, splits, __, ___, step) => splits.map((at) => clock(at, step < 60)) }), axis({ size: 44 })],
      series: [{ label: "UTC", value: (_, at) => at === null ? "–" : clock(at, true) }, ...series.map(([label, , name]) => (
        { label, stroke: colour(name), width: 1.5, points: { show: false }, value: (_, value) => value === null ? "–" : value.toFixed(value < 10 ? 2 : 0) }))],
      hooks: { draw: [draw] },
    }, data, box));
  }
  async function look() {
    try {
      const answer = await fetch(holder.dataset.from);
      if (!answer.ok) return;
      const told = await answer.json();
      marks = told.changes;
      for (const box of holder.querySelectorAll(".plot")) {
        box.dataset.name = Object.keys(told.integrations)[0] ?? "";
        plot(box, told);
      }
      holder.dataset.marks = String(marks.length);
    } catch { /* away: the banner of the page says so */ }
  }
  addEventListener("resize", () => { for (const [box, each] of made) each.setSize({ width: box.clientWidth, height: 170 }); });
  let last = 0;
  document.addEventListener("reread", () => { if (Date.now() - last > 9000) { last = Date.now(); look(); } });
  look();
})();
