"use strict";
(function () {
  const charts = JSON.parse(document.getElementById("charts").textContent);
  const font = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif";
  const axis = {
    labelColor: "var(--soft)", titleColor: "var(--soft)", gridColor: "var(--grid)", domainColor: "var(--line)",
    tickColor: "var(--line)", labelFontSize: 11, titleFontSize: 11, titleFontWeight: "normal", titlePadding: 8,
    labelFont: font, titleFont: font,
  };
  const config = {
    background: "transparent", font: font, axis: axis, axisY: { minExtent: 36 },
    view: { stroke: "var(--line)" }, header: { labelColor: "var(--soft)", labelFont: font },
    text: { font: font }, padding: { left: 0, right: 6, top: 4, bottom: 4 },
  };
  const tip = document.getElementById("tip");

  /* The row of a chart's table that is nearest to a place on its first axis. */
  function nearest(rows, at) {
    let best = null, least = Infinity;
    for (const row of rows) {
      const away = Math.abs(parseFloat(row.cells[0].dataset.value) - at);
      if (away < least) { least = away; best = row; }
    }
    return best;
  }

  function show(figure, view, event) {
    const rows = figure.querySelectorAll("tbody tr"), titles = figure.querySelectorAll("thead th");
    const svg = figure.querySelector(".chart svg");
    if (!rows.length || !svg) return;
    const box = svg.getBoundingClientRect(), scale = box.width / view._width_of_svg(svg);
    const x = (event.clientX - box.left) / scale - view.origin()[0];
    if (x < -4 || x > view.width() + 4) { tip.hidden = true; return; }
    const row = nearest(rows, view.scale("x").invert(x));
    if (!row) return;
    tip.replaceChildren();
    const when = document.createElement("b");
    when.textContent = titles[0].textContent + " " + row.cells[0].textContent;
    tip.append(when);
    for (let i = 1; i < row.cells.length; i++) {
      if (!row.cells[i].textContent) continue;
      const line = document.createElement("div"), name = document.createElement("span"), value = document.createElement("span");
      name.textContent = titles[i].textContent;
      value.textContent = row.cells[i].firstChild.textContent;
      line.append(name, value);
      tip.append(line);
    }
    tip.hidden = false;
    const w = tip.offsetWidth, h = tip.offsetHeight;
    tip.style.left = Math.max(4, Math.min(event.clientX + 14, innerWidth - w - 8)) + "px";
    tip.style.top = Math.max(4, event.clientY - h - 12) + "px";
  }

  const drawn = Object.entries(charts).map(async function ([name, spec]) {
    const place = document.getElementById("chart-" + name), figure = document.getElementById(name);
    const made = await vegaEmbed(place, spec, { renderer: "svg", actions: false, ast: true, tooltip: false, config: config });
    place.style.minHeight = "";
    const x = made.view.scale && figure.dataset.axis === "time";
    if (!x) return;
    made.view._width_of_svg = function (svg) { return svg.viewBox.baseVal.width || svg.clientWidth; };
    place.addEventListener("pointermove", function (event) { show(figure, made.view, event); });
    place.addEventListener("pointerleave", function () { tip.hidden = true; });
  });
  Promise.all(drawn).then(
    function () { document.documentElement.dataset.drawn = String(drawn.length); },
    function (error) {
      console.error(error);
      document.documentElement.dataset.drawn = "failed";
    },
  );
})();
