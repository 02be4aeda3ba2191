
(() => {
  const at = id => document.getElementById(id);
  const show = (id, text) => { const place = at(id); if (place && place.textContent !== text) place.textContent = text; };
  const size = bytes => {
    let unit = "B", value = bytes;
    for (const larger of ["KiB", "MiB", "GiB", "TiB", "PiB"]) {
      if (value < 1023.5) break;
      [unit, value] = [larger, value / 1024];
    }
    return unit === "B" ? `${Math.round(value)} B` : `${value.toFixed(1)} ${unit}`;
  };
  const time = exact => {
    const s = Math.ceil(exact), of = (n, unit) => `${Math.floor(n)} ${unit}`;
    if (s < 60) return of(s, "s");
    if (s < 3600) return `${of(s / 60, "min")} ${of(s % 60, "s")}`;
    if (s < 86400) return `${of(s / 3600, "h")} ${of(s / 60 % 60, "min")}`;
    return `${of(s / 86400, "d")} ${of(s / 3600 % 24, "h")}`;
  };
  const name = target => { try { return decodeURIComponent(target); } catch { return target; } };
  // What was known up to five looks ago: from then on rates are counted.
  const rate = (past, when, count) => {
    if (past.length && past[past.length - 1][1] > count) past.length = 0;
    past.push([when, count]);
    if (past.length > 6) past.shift();
    const [[since, before]] = past;
    return when > since ? (count - before) / (when - since) : 0;
  };
  const line = (id, now, value, suffix, budget, points) => {
    const most = Math.max(1, budget ?? 0, value, ...points.map(point => point[1]));
    const place = points.filter(([when]) => when >= now - 300);
    const text = place.map(([when, value]) => `${(300 + when - now).toFixed(1)},${(58 - value / most * 56).toFixed(1)}`);
    show(`${id}-most`, budget === null ? `up to ${size(most)}${suffix} in 5 min` : `of ${size(budget)}`);
    at(`${id}-line`)?.setAttribute("points", text.join(" "));
  };
  let rows = new Map();
  const list = at("transfers"), requests = [], sent = [];
  const make = (tag, parent) => parent.appendChild(document.createElement(tag));
  const row = transfer => {
    const item = document.createElement("li"), label = make("bdi", make("b", item)), client = make("span", item);
    label.textContent = label.title = name(transfer.target);
    client.textContent = transfer.client ?? "";
    const bar = transfer.expected ? make("progress", item) : null;
    if (bar) {
      bar.max = 100;
      bar.setAttribute("aria-label", label.textContent);
    }
    return { item, bar, text: make("small", item), past: [] };
  };
  const transfers = state => {
    const next = new Map();
    for (const transfer of state.transfers) {
      const { target, client, expected, sent, seconds } = transfer;
      let key = `${client} ${target}`;
      while (next.has(key)) key += "+";
      const one = rows.get(key) ?? row(transfer);
      let speed = rate(one.past, state.uptime, sent);
      if (one.past.length < 2) speed = sent / Math.max(seconds, .001);
      if (one.bar) one.bar.value = sent / expected * 100;
      const of = expected === null ? "" : ` of ${size(expected)}`;
      const left = expected === null || !speed ? "" : ` \u00b7 ${time((expected - sent) / speed)} left`;
      one.text.textContent = `${size(sent)}${of} \u00b7 ${size(speed)}/s${left}`;
      next.set(key, one);
    }
    rows = next;
    const items = [...rows.values()].map(one => one.item);
    if (items.length !== list.children.length || items.some((item, place) => list.children[place] !== item)) list.replaceChildren(...items);
    at("none").hidden = items.length > 0;
    at("more").hidden = !state.more;
    show("more", `and ${state.more} more`);
  };
  const draw = state => {
    const { connections: { sending, waiting, limit }, workers, samples } = state, now = state.started + state.uptime;
    document.title = `brooklet: ${state.draining ? "stopping" : "serving"}`;
    show("state", state.draining ? "stopping" : "serving");
    show("uptime", time(state.uptime));
    show("sending", `${sending}`);
    show("waiting", `${waiting}`);
    show("free", `${Math.max(0, limit - sending - waiting)}`);
    show("workers", `${workers.busy} of ${workers.all}`);
    show("errors", `${state.errors}`);
    const before = samples[samples.length - 2];
    if (!sent.length && before) {
      sent.push([before[0] - state.started, before[2]]);
      requests.push([before[0] - state.started, before[3]]);
    }
    show("requests", `${rate(requests, state.uptime, Object.values(state.requests).reduce((a, b) => a + b)).toFixed(1)}/s`);
    const speed = rate(sent, state.uptime, state.sent);
    show("sent", `${size(speed)}/s`);
    show("memory", state.memory === null ? "?" : size(state.memory));
    line("sent", now, speed, "/s", null, samples.slice(1).map((next, place) => {
      const before = samples[place];
      return [next[0], (next[2] - before[2]) / Math.max(next[0] - before[0], .001)];
    }));
    line("memory", now, state.memory ?? 0, "", state.budget, samples.filter(sample => sample[1] !== null));
    transfers(state);
  };
  const look = async () => {
    try {
      const answer = await fetch("status.json", { cache: "no-store", signal: AbortSignal.timeout(5000) });
      if (!answer.ok) throw answer.status;
      draw(await answer.json());
      document.body.classList.remove("gone");
    } catch {
      // What is shown is what was known last.
      show("state", "no answer");
      document.body.classList.add("gone");
    }
    setTimeout(look, 1000);
  };
  look();
})();
