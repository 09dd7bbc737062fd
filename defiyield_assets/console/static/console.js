/* Charts that answer: pointer and arrow keys show the values of a day. The figures come from the chart's own table, in
   the page or, where they are many, behind the link below the chart: nothing is told here that cannot be read without a
   script. */
"use strict";
(() => {
  const SVG = "http://www.w3.org/2000/svg";
  const PAUSE = 5000;

  async function tableOf(figure) {
    const link = figure.parentElement.querySelector(".figures a");
    if (!link) return figure.parentElement.querySelector("details.figures table");
    const answer = await fetch(link.href);
    if (!answer.ok) throw new Error(`${link.href}: ${answer.status}`);
    return new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("#figures table");
  }

  async function figuresOf(figure) {
    const table = await tableOf(figure);
    if (!table) throw new Error("no table of figures"); // somebody else's page, such as the login
    const names = [...table.tHead.rows[0].cells].slice(1).map((cell) => cell.textContent.trim());
    const rows = [...table.tBodies[0].rows].map((row) => [...row.cells].map((cell) => cell.textContent.trim()));
    return { names, rows, places: placesOf(rows) };
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
    if (!plot || !figure.parentElement.querySelector(".figures")) return;
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
    let told = null;
    let asking = null;
    let wanted = [];
    let chosen = -1;

    /* Show the row that `rowOf` tells, as soon as the figures are here; what fails is asked again after a while. */
    function want(rowOf) {
      if (told) show(rowOf());
      else {
        wanted.push(rowOf);
        asking ??= figuresOf(figure).then(
          (found) => {
            told = found;
            wanted.forEach((one) => show(one()));
          },
          () => {
            wanted = [];
            setTimeout(() => {
              asking = null;
            }, PAUSE);
          },
        );
      }
    }

    function show(row) {
      chosen = Math.max(0, Math.min(told.rows.length - 1, row));
      const share = `${100 * told.places[chosen]}%`;
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
      const x = inside.left - outside.left + inside.width * told.places[chosen];
      tip.style.left = `${Math.max(0, Math.min(x + 10, outside.width - tip.offsetWidth))}px`;
      tip.style.top = `${inside.top - outside.top}px`;
    }

    function hide() {
      tip.hidden = true;
      cross.remove();
      chosen = -1;
      wanted = [];
    }

    plot.addEventListener("pointermove", (event) => {
      const box = plot.getBoundingClientRect();
      const share = (event.clientX - box.left) / box.width;
      want(() => {
        const away = told.places.map((place) => Math.abs(place - share));
        return away.indexOf(Math.min(...away));
      });
    });
    plot.addEventListener("pointerleave", hide);
    plot.addEventListener("blur", hide);
    plot.addEventListener("keydown", (event) => {
      const rows = {
        ArrowLeft: () => (chosen < 0 ? told.rows.length : chosen) - 1,
        ArrowRight: () => chosen + 1,
        Home: () => 0,
        End: () => told.rows.length - 1,
      };
      if (event.key === "Escape") hide();
      else if (event.key in rows) {
        want(rows[event.key]);
        event.preventDefault();
      }
    });
  }

  document.querySelectorAll("figure").forEach(enliven);
})();
