"use strict";
// Charts: one SVG each. Their colours are CSS variables, so a change of scheme or a printer needs no redraw.
(() => {
  const { config, charts } = JSON.parse(document.getElementById("specs").textContent);
  const drawn = Object.entries(charts).map(([name, spec]) =>
    vegaEmbed(`#chart-${name}`, spec, {
      actions: false,
      renderer: "svg",
      config,
      bind: `#controls-${name}`,
      tooltip: { theme: "report" },
    }),
  );
  Promise.all(drawn).then(
    () => { document.documentElement.dataset.charts = "ready"; },
    (error) => { document.documentElement.dataset.charts = "failed"; throw error; },
  );
})();

// The table: headings sort, missing values stay last, the filter wants every word somewhere in the row.
(() => {
  const table = document.getElementById("results");
  if (!table) return;
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const heads = [...table.tHead.rows[0].cells];
  const collator = new Intl.Collator("en", { numeric: true });

  const sort = (place) => {
    const head = heads[place];
    const down = head.getAttribute("aria-sort") === "ascending";
    const numeric = head.dataset.numeric === "1";
    const key = (row) => row.cells[place].dataset.key;
    const compare = numeric ? (a, b) => Number(a) - Number(b) : collator.compare;
    rows.sort((a, b) => {
      const [x, y] = [key(a), key(b)];
      if (x === "" || y === "") return (x === "") - (y === "");
      return down ? compare(y, x) : compare(x, y);
    });
    for (const other of heads) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    body.append(...rows);
  };
  heads.forEach((head, place) => head.firstElementChild.addEventListener("click", () => sort(place)));

  const box = document.getElementById("filter");
  const count = document.getElementById("count");
  const texts = new Map(
    rows.map((row) => [row, [...row.cells].map((cell) => `${cell.textContent} ${cell.title}`).join(" ").toLowerCase()]),
  );
  box.addEventListener("input", () => {
    const wanted = box.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of rows) row.hidden = !wanted.every((word) => texts.get(row).includes(word));
    count.textContent = `${rows.filter((row) => !row.hidden).length} of ${rows.length} rows`;
  });
})();

// A page that is redrawn while cells run loads itself again, but not under a reader's hands.
(() => {
  const watch = document.getElementById("watch");
  if (!watch) return;
  const pause = watch.querySelector("button");
  pause.addEventListener("click", () => {
    const paused = pause.getAttribute("aria-pressed") !== "true";
    pause.setAttribute("aria-pressed", String(paused));
  });
  setInterval(() => {
    const busy = document.getElementById("filter")?.value || document.querySelector("#vg-tooltip-element.visible");
    if (pause.getAttribute("aria-pressed") !== "true" && !busy) location.reload();
  }, 1000 * watch.dataset.seconds);
})();
