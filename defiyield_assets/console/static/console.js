/* Charts that answer: pointer and arrow keys show the values of a day. The figures come from the chart's own table in
   the page, so that nothing is told here that the page does not say without a script. */
"use strict";
(() => {
  const SVG = "http://www.w3.org/2000/svg";

  function figuresOf(figure) {
    const table = figure.parentElement.querySelector("details.figures table");
    if (!table) return null;
    const names = [...table.tHead.rows[0].cells].slice(1).map((cell) => cell.textContent.trim());
    const rows = [...table.tBodies[0].rows].map((row) => [...row.cells].map((cell) => cell.textContent.trim()));
    return rows.length ? { names, rows } : null;
  }

  /* Days stand where the calendar has them, other labels evenly. */
  function placesOf(rows) {
    const days = rows.map((row) => Date.parse(row[0]));
    const isDated = rows.every((row) => /^\d{4}-\d{2}-\d{2}$/.test(row[0])) && days.every(Number.isFinite);
    const at = isDated ? days : rows.map((_, place) => place);
    const span = Math.max(at[at.length - 1] - at[0], 1);
    return rows.length === 1 ? [0.5] : at.map((place) => (place - at[0]) / span);
  }

  function enliven(figure) {
    const plot = figure.querySelector("svg.plot");
    const told = plot && figuresOf(figure);
    if (!told) return;
    const places = placesOf(told.rows);
    const cross = document.createElementNS(SVG, "line");
    cross.setAttribute("class", "cross");
    cross.setAttribute("y1", "0");
    cross.setAttribute("y2", "100%");
    const tip = document.createElement("div");
    tip.className = "tip";
    tip.setAttribute("role", "status");
    tip.hidden = true;
    figure.append(tip);
    plot.tabIndex = 0;
    let chosen = -1;

    function show(row) {
      chosen = Math.max(0, Math.min(told.rows.length - 1, row));
      const share = `${100 * places[chosen]}%`;
      cross.setAttribute("x1", share);
      cross.setAttribute("x2", share);
      plot.append(cross);
      tip.replaceChildren(
        ...[told.rows[chosen][0], ...told.names.map((name, place) => [name, told.rows[chosen][place + 1]])
          .filter(([, value]) => value)
          .map(([name, value]) => `${name}: ${value}`)].map((words) => {
          const line = document.createElement("p");
          line.textContent = words;
          return line;
        }),
      );
      tip.hidden = false;
      const inside = plot.getBoundingClientRect();
      const outside = figure.getBoundingClientRect();
      const x = inside.left - outside.left + inside.width * places[chosen];
      tip.style.left = `${Math.max(0, Math.min(x + 10, outside.width - tip.offsetWidth))}px`;
      tip.style.top = `${inside.top - outside.top}px`;
    }

    function hide() {
      tip.hidden = true;
      cross.remove();
      chosen = -1;
    }

    plot.addEventListener("pointermove", (event) => {
      const box = plot.getBoundingClientRect();
      const share = (event.clientX - box.left) / box.width;
      let nearest = 0;
      places.forEach((place, row) => {
        if (Math.abs(place - share) < Math.abs(places[nearest] - share)) nearest = row;
      });
      show(nearest);
    });
    plot.addEventListener("pointerleave", hide);
    plot.addEventListener("blur", hide);
    plot.addEventListener("keydown", (event) => {
      const last = told.rows.length - 1;
      const rows = {
        ArrowLeft: chosen < 0 ? last : chosen - 1,
        ArrowRight: chosen + 1,
        Home: 0,
        End: last,
      };
      if (event.key === "Escape") hide();
      else if (event.key in rows) {
        show(rows[event.key]);
        event.preventDefault();
      }
    });
  }

  document.querySelectorAll("figure").forEach(enliven);
})();
