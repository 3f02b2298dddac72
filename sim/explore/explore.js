"use strict";
(function () {
  const about = JSON.parse(document.getElementById("about").textContent);
  const knobs = new Map(about.knobs.map(function (knob) { return [knob.name, knob]; }));
  const NAMES = ["A", "B"], SEEDS = 20;
  const state = { A: {}, B: null };  // what is moved: knob → value; B is null where there is one variant
  const shown = { A: null, B: null };  // the newest answer of each
  const busy = { A: false, B: false }, waits = { A: false, B: false };
  const pageId = crypto.getRandomValues(new Uint32Array(2)).join("-");
  let turn = 0, seedsTurn = 0;

  function make(tag, options, ...children) {
    const made = Object.assign(document.createElement(tag), options || {});
    made.append(...children);
    return made;
  }
  function byId(id) { return document.getElementById(id); }
  function variants() { return NAMES.filter(function (name) { return state[name] !== null; }); }

  /* ---- asking ---- */
  async function ask(path, said) {
    const answer = await fetch(path, {
      method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(said),
    });
    const found = await answer.json();
    if (!answer.ok) throw Object.assign(new Error("refused"), { problems: found.problems || ["the server refused"] });
    return found;
  }
  function complain(lines) {
    byId("problem").hidden = !lines;
    byId("problem").textContent = lines ? lines.join("\n") : "";
  }

  /* One question of a variant at a time; what was moved meanwhile is asked next, all that was between is never run. */
  async function look(name) {
    if (busy[name]) { waits[name] = true; return; }
    busy[name] = true;
    seedsTurn += 1;
    do {
      waits[name] = false;
      turn += 1;
      try {
        const found = await ask("/api/look", { page: pageId, variant: name, turn: turn, values: state[name] });
        if (state[name] === null) break;
        if (!found.stale) {
          shown[name] = found;
          complain(null);
          draw();
        }
      } catch (error) {
        complain(error.problems || ["the server does not answer; is `fleetsim explore` still running?"]);
      }
    } while (waits[name] && state[name] !== null);
    busy[name] = false;
    if (!busy.A && !busy.B) seeds();
  }

  /* Intervals: one seed more at a time, until something is moved. */
  async function seeds() {
    seedsTurn += 1;
    const mine = seedsTurn;
    for (let n = 2; n <= SEEDS && mine === seedsTurn; n++) {
      try {
        const said = { page: pageId, turn: mine, n: n, variants: variants().map(function (name) { return state[name]; }) };
        const found = await ask("/api/seeds", said);
        if (mine !== seedsTurn || found.stale) return;
        drawSeeds(found);
      } catch (error) {
        if (mine === seedsTurn) byId("seeds-note").textContent = (error.problems || ["no answer"]).join(" ");
        return;
      }
    }
  }

  /* ---- moving ---- */
  function move(name, knob, value) {
    if (value === knob.value && !(knob.name in state[name])) return;
    state[name][knob.name] = value;
    if (knob.kind === "choice") forget(name, knob);
    remember();
    look(name);
  }
  /* Another autoscaler has settings of its own: what was moved of the last one's means nothing to it. */
  function forget(name, knob) {
    if (!/^autoscaler/.test(knob.name)) return;
    const inside = knob.name.includes("@") ? knob.name.split("@")[1] : knob.name;
    for (const other of Object.keys(state[name])) if (other.startsWith(inside + ".")) delete state[name][other];
  }
  function slider(name, knob) {
    const step = knob.step || "any";
    const range = make("input", { type: "range", min: knob.low, max: knob.high, step: step, ariaLabel: `${knob.label}, ${name}` });
    const box = make("input", { type: "number", min: knob.low, max: knob.high, step: step, ariaLabel: `${knob.label}, ${name}` });
    range.addEventListener("input", function () { box.value = range.value; move(name, knob, Number(range.value)); });
    box.addEventListener("change", function () {
      range.value = box.value;
      move(name, knob, box.value === "" ? null : Number(box.value));
    });
    return [range, box];
  }
  function choice(name, knob) {
    const select = make("select", { ariaLabel: `${knob.label}, ${name}` });
    select.append(make("option", { value: "", textContent: "as the scenario has it" }));
    for (const option of knob.options) select.append(make("option", { value: option, textContent: option }));
    select.addEventListener("change", function () {
      if (select.value !== "") return move(name, knob, select.value);
      delete state[name][knob.name];
      forget(name, knob);
      remember();
      look(name);
    });
    return [select];
  }
  function drawKnobs() {
    const groups = new Map();
    for (const knob of about.knobs) {
      if (!groups.has(knob.group)) groups.set(knob.group, make("fieldset", null, make("legend", { textContent: knob.group })));
      const row = make("div", { className: "knob" }, make("span", { textContent: knob.label + (knob.unit ? `, ${knob.unit}` : "") }));
      row.dataset.knob = knob.name;
      for (const name of variants()) {
        const line = make("div", { className: `control ${knob.kind} of-${name}` }, make("i", { textContent: name }));
        line.append(...(knob.kind === "choice" ? choice(name, knob) : slider(name, knob)));
        row.append(line);
      }
      groups.get(knob.group).append(row);
    }
    byId("knobs").replaceChildren(...groups.values());
    showValues();
  }
  /* Controls follow what the scenario came to, but for the one that a hand is on. */
  function showValues() {
    for (const row of document.querySelectorAll(".knob")) {
      const knob = knobs.get(row.dataset.knob);
      let known = false;
      for (const name of variants()) {
        const values = shown[name] ? shown[name].values : {};
        const own = state[name][knob.name];
        const value = own !== undefined ? own : shown[name] ? values[knob.name] : knob.value;
        const has = knob.kind === "choice" || (value !== null && value !== undefined);
        known = known || has;
        row.querySelector(`.of-${name}`).hidden = !has;
        for (const control of row.querySelectorAll(`.of-${name} input, .of-${name} select`)) {
          if (control === document.activeElement && control.type !== "range") continue;
          if (control.tagName === "SELECT") control.value = knob.options.includes(value) ? value : "";
          else if (value !== null && value !== undefined) control.value = value;
        }
      }
      row.hidden = !known;
    }
  }

  /* ---- drawing ---- */
  const axis = {
    labelColor: "var(--soft)", titleColor: "var(--soft)", gridColor: "var(--grid)", domainColor: "var(--line)",
    tickColor: "var(--line)", labelFontSize: 11, titleFontSize: 11, titleFontWeight: "normal",
  };
  const unit = about.duration_s > 14400 ? [3600, "h"] : about.duration_s > 600 ? [60, "min"] : [1, "s"];
  function spec(title, scale, step) {
    return {
      $schema: "https://vega.github.io/schema/vega-lite/v6.json",
      data: { name: "rows" }, width: "container", height: 120, autosize: { type: "fit-x", contains: "padding" },
      mark: { type: "line", strokeWidth: 1.8, interpolate: step ? "step-after" : "linear" },
      encoding: {
        x: { field: "t", type: "quantitative", title: `time (${unit[1]})`, scale: { domain: [0, about.duration_s / unit[0]], nice: false, clamp: true }, axis: { format: "~r" } },
        y: { field: "y", type: "quantitative", title: title, scale: scale, axis: { tickCount: 5 } },
        color: { field: "series", type: "nominal", legend: null, scale: { domain: NAMES, range: ["var(--a)", "var(--b)"] } },
        strokeDash: { field: "series", type: "nominal", legend: null, scale: { domain: NAMES, range: [[1, 0], [6, 3]] } },
      },
      config: { background: "transparent", axis: axis, axisY: { minExtent: 40 }, view: { stroke: "var(--line)" } },
    };
  }
  const options = { renderer: "svg", actions: false, ast: true, tooltip: false, logLevel: 1 };  // a chart may be empty
  const views = {};
  const ready = Promise.all([
    ["arrivals", spec("per second", {}, false)],
    ["ready", spec("replicas", {}, true)],
    ["ttft", spec("seconds (log)", { type: "log", nice: false }, false)],
    ["waiting", spec("requests", {}, false)],
  ].map(async function ([name, said]) { views[name] = (await vegaEmbed(`#chart-${name}`, said, options)).view; }));

  async function draw() {
    showValues();
    drawVerdicts();
    drawCommands();
    await ready;
    for (const [name, view] of Object.entries(views)) {
      const rows = [];
      for (const series of variants()) {
        if (!shown[series]) continue;
        const [times, values] = shown[series].picture[name];
        times.forEach(function (t, i) {
          const y = values[i];
          rows.push({ t: t / unit[0], y: name === "ttft" && !(y > 0) ? null : y, series: series });
        });
      }
      view.data("rows", rows).runAsync();
    }
    const legend = variants().length < 2 ? [] : variants().map(function (name) {
      return make("li", { className: `name-${name}`, textContent: name === "A" ? "━ A" : "╍ B" });
    });
    byId("legend").replaceChildren(...legend);
    document.documentElement.dataset.drawn = String(Number(document.documentElement.dataset.drawn || 0) + 1);
  }
  function drawVerdicts() {
    byId("verdicts").replaceChildren(...variants().filter(function (name) { return shown[name]; }).map(function (name) {
      const found = shown[name], ok = found.verdict.ok;
      const box = make("div", { id: `verdict-${name}` });
      const lead = variants().length > 1 ? make("b", { className: `name-${name}`, textContent: name }) : "";
      const mark = ok === null ? "•" : ok ? "✓" : "✗";
      box.append(make("p", { className: `verdict ${ok === null ? "" : ok ? "good" : "bad"}` }, lead, make("span", { textContent: mark }),
        make("span", { textContent: found.verdict.text })));
      const limits = make("ul", { className: "limits" });
      for (const limit of found.limits) {
        limits.append(make("li", { className: limit.ok ? "" : "bad" },
          make("span", null, make("span", { className: "mark", textContent: limit.ok ? "✓" : "✗" }), limit.text),
          make("span", { className: "was", textContent: `was ${limit.was}` })));
      }
      const tiles = make("dl", { className: "tiles" });
      for (const [label, text] of found.figures) {
        tiles.append(make("div", null, make("dt", { textContent: label }), make("dd", { textContent: text })));
      }
      box.append(limits, tiles);
      return box;
    }));
  }
  function drawCommands() {
    byId("commands").replaceChildren(...variants().filter(function (name) { return shown[name]; }).map(function (name) {
      const export_ = make("button", { type: "button", textContent: `Export ${variants().length > 1 ? name : "the scenario"} as YAML` });
      export_.addEventListener("click", function () { save(name); });
      const row = make("div", { className: "row" }, export_);
      if (name === "A") {
        const link = make("button", { type: "button", textContent: "Copy a link to what is on screen" });
        link.addEventListener("click", function () { navigator.clipboard.writeText(location.href); });
        row.append(link);
      }
      return make("div", null, make("pre", { id: `command-${name}`, textContent: shown[name].command }), row);
    }));
  }
  async function save(name) {
    try {
      const found = await ask("/api/export", { values: state[name] });
      const link = make("a", { download: `${about.scenario}-${name}.yaml`, href: URL.createObjectURL(new Blob([found.yaml], { type: "text/yaml" })) });
      link.click();
      setTimeout(function () { URL.revokeObjectURL(link.href); }, 1000);
    } catch (error) { complain(error.problems || ["the server does not answer"]); }
  }
  function drawSeeds(found) {
    const two = variants().length > 1, head = make("tr", null, make("th", { textContent: "" }));
    for (const name of variants()) head.append(make("th", { textContent: two ? name : "mean" }));
    if (two && found.same_traffic) head.append(make("th", { textContent: "B against A" }));
    const rows = found.rows.map(function (row) {
      const line = make("tr", null, make("th", { scope: "row", textContent: row.label }));
      for (const [text, interval] of row.cells) line.append(make("td", null, text, make("small", { textContent: interval })));
      if (two && found.same_traffic) {
        const d = row.difference;
        const mark = d && d.verdict === "better" ? "good" : d && d.verdict === "worse" ? "bad" : "";
        line.append(d ? make("td", { className: mark }, `${d.text} ${d.verdict}`, make("small", { textContent: d.interval })) : make("td"));
      }
      return line;
    });
    byId("seeds").replaceChildren(make("div", { className: "scrolls" }, make("table", null, make("thead", null, head), make("tbody", null, ...rows))));
    byId("seeds").dataset.n = String(found.n);
    byId("seeds-note").textContent = `${found.n} seeds, 95 % intervals` +
      (two && !found.same_traffic ? "; A and B see other traffic, so they are not held against each other" : "") +
      (found.n < SEEDS ? "; more are coming" : "");
  }

  /* ---- the state in the address ---- */
  function text(values) {
    return Object.entries(values).map(function ([key, value]) { return `${encodeURIComponent(key)}:${encodeURIComponent(JSON.stringify(value))}`; }).join(",");
  }
  function remember() {
    const parts = variants().map(function (name) { return `${name}=${text(state[name])}`; });
    history.replaceState(null, "", `#${parts.join("&")}`);
  }
  function recall() {
    for (const part of location.hash.slice(1).split("&")) {
      const name = part.slice(0, 1), rest = part.slice(2);
      if (!NAMES.includes(name) || part.slice(1, 2) !== "=") continue;
      const values = Object.create(null);
      for (const pair of rest.split(",")) {
        const [key, value] = pair.split(":");
        try { if (value !== undefined) values[decodeURIComponent(key)] = JSON.parse(decodeURIComponent(value)); } catch { /* not ours */ }
      }
      state[name] = values;
    }
  }
  function begin() {
    byId("second").textContent = state.B === null ? "Compare with a second variant" : "Leave the second variant";
    drawKnobs();
    variants().forEach(look);
  }
  byId("second").addEventListener("click", function () {
    state.B = state.B === null ? { ...state.A } : null;
    shown.B = null;
    remember();
    begin();
    draw();
  });
  byId("reset").addEventListener("click", function () {
    for (const name of variants()) state[name] = {};
    remember();
    begin();
  });
  recall();
  begin();
})();
