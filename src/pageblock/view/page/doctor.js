"use strict";
(async () => {
  const FREE = 0, MOVABLE = 1, BLOCKED = 2, HOLE = 3, UNINITIALISED = 4;
  const GUTTER = 66, HEIGHT = 560, SMALLEST = 6, LARGEST = 26, DEEPEST = 48, LISTED = 10;
  const $ = (id) => document.getElementById(id);
  const data = JSON.parse($("data").textContent);
  const bytes = await inflate($("ranges").textContent);
  const state = { size: 0, release: data.releases.length - 1, reason: null };
  const maps = [];
  let chosen = null;

  async function inflate(text) {
    const packed = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  }

  // ---- the data

  const row = () => data.rows.findIndex(
    (r) => r.nr_pages === data.sizes[state.size].nr_pages && r.release === state.release);
  const verdict = (zone, i) => bytes[zone.verdict + i];
  const word = (zone, name, i) => {
    const at = zone[name] + i, n = zone.n;
    return (bytes[at] | bytes[at + n] << 8 | bytes[at + 2 * n] << 16 | bytes[at + 3 * n] << 24) >>> 0;
  };
  const hex = (pfn) => "0x" + pfn.toString(16);
  const count = (n) => n.toLocaleString("en-US");
  const mib = (pages) => (pages * data.page_size / 1048576).toLocaleString("en-US", { maximumFractionDigits: 1 }) + " MiB";
  const address = (pfn) => {
    const bytes = pfn * data.page_size, unit = bytes >= 2 ** 30 ? ["GiB", 2 ** 30] : bytes >= 2 ** 20 || !bytes ? ["MiB", 2 ** 20] : ["KiB", 1024];
    return `${(bytes / unit[1]).toLocaleString("en-US", { maximumFractionDigits: 3 })} ${unit[0]}`;
  };
  const plural = (n, word) => `${count(n)} ${word}${n === 1 ? "" : "s"}`;
  const share = (cost, pages) => cost * 16 <= pages ? 0 : cost * 4 <= pages ? 1 : cost * 2 <= pages ? 2 : 3;

  /** Lines that describe one range: [text, class]. */
  function describe(place) {
    const r = data.rows[place.row], zone = r.zones[place.zone], i = place.i;
    const start = zone.first + i * r.nr_pages, v = verdict(zone, i);
    const lines = [
      [`pfn ${hex(start)} to ${hex(start + r.nr_pages)}`, "pfn"],
      [`${sizeName(r.nr_pages)} at ${address(start)}, ${data.zones[place.zone]}, release ${data.releases[r.release]}`, ""],
    ];
    if (v === FREE) lines.push(["free now", "verdict"]);
    else if (v === MOVABLE) {
      const cost = word(zone, "cost", i), dropped = word(zone, "dropped", i);
      lines.push([`movable: ${plural(cost, "page")} to move (${mib(cost)})`
        + (dropped ? `, ${plural(dropped, "clean file page")} to drop` : ""), "verdict"]);
    } else if (v === BLOCKED) {
      const set = word(zone, "reasons", i), ahead = word(zone, "blocker", i);
      const why = Object.keys(data.reasons).filter((bit) => set >>> bit & 1).map((bit) => data.reasons[bit]);
      lines.push(["blocked by " + why.join("; "), "verdict"]);
      const causes = new Set(Object.keys(r.causes).filter((bit) => set >>> bit & 1).flatMap((bit) => r.causes[bit]));
      if (causes.size) lines.push([[...causes].join("; "), "cause"]);
      if (ahead !== data.no_blocker) lines.push([`first in the way: pfn ${hex(start + (ahead | 0))}`, "pfn"]);
    } else lines.push([v === UNINITIALISED ? "memory that is not initialised yet" : "no range: memory is missing", "verdict"]);
    return lines;
  }
  const sizeName = (pages) => data.sizes.find((s) => s.nr_pages === pages).name;

  // ---- small helpers for the page

  function make(tag, text, attributes = {}) {
    const element = document.createElement(tag);
    if (text) element.textContent = text;
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    return element;
  }
  function fill(element, lines) {
    element.replaceChildren(...lines.map(([text, kind]) => make("p", text, kind ? { class: kind } : {})));
  }
  let paint = {};
  function readColours() {
    const style = getComputedStyle(document.documentElement);
    for (const name of ["free", "move0", "move1", "move2", "move3", "blocked", "uninitialised", "hole", "back", "mark", "dim"])
      paint[name] = style.getPropertyValue("--" + name).trim();
  }
  const rgb = (text) => [1, 3, 5].map((at) => parseInt(text.slice(at, at + 2), 16));

  // ---- the map of one zone: cells in rows of a power of two, so that each row begins at a round address

  class ZoneMap {
    constructor(index) {
      this.index = index;
      this.box = make("div", "", { class: "zone" });
      const head = make("header");
      this.what = make("span", "", { class: "what" });
      head.append(make("h3", data.zones[index]), this.what);
      for (const [text, label, act] of [["−", "zoom out", () => this.zoom(1 / 1.6)], ["+", "zoom in", () => this.zoom(1.6)], ["all", "show the whole zone", () => this.fit()]]) {
        const button = make("button", text, { type: "button", "aria-label": `${label}: ${data.zones[index]}` });
        button.addEventListener("click", act);
        head.append(button);
      }
      this.canvas = make("canvas", "", { tabindex: "0", role: "application", "aria-describedby": "map-hint" });
      this.box.append(head, this.canvas);
      this.cursor = null;
      this.listen();
    }

    load() {
      this.row = row();
      const r = data.rows[this.row];
      this.zone = r.zones[this.index];
      this.pages = r.nr_pages;
      this.box.hidden = this.zone.n === 0;
      const counts = [0, 0, 0, 0, 0];
      for (let i = 0; i < this.zone.n; i++) counts[verdict(this.zone, i)]++;
      this.what.textContent = `${count(counts[FREE])} free, ${count(counts[MOVABLE])} movable, ${count(counts[BLOCKED])} blocked`
        + (counts[UNINITIALISED] ? `, ${count(counts[UNINITIALISED])} not initialised` : "");
      this.canvas.setAttribute("aria-label", `Map of ${data.zones[this.index]}, ranges of ${sizeName(this.pages)}: ${this.what.textContent}`);
      this.cursor = null;
      this.layout();
      this.fit();
    }

    /** As many columns as leave cells of SMALLEST, more where the zone would be higher than HEIGHT. */
    layout() {
      if (this.box.hidden) return;
      const width = Math.max(200, this.box.clientWidth), inner = width - GUTTER, n = this.zone.n;
      let columns = 8;
      while (columns < n && (inner / columns / 2 >= SMALLEST || n * inner / columns ** 2 > HEIGHT)) columns *= 2;
      this.columns = columns;
      const density = window.devicePixelRatio || 1, edge = Math.min(LARGEST, inner / columns);
      // whole pixels are drawn sharp
      this.edge = edge * density >= 3 ? Math.floor(edge * density) / density : edge;
      const unit = columns * this.pages;
      this.shift = (this.zone.first - Math.floor(this.zone.first / unit) * unit) / this.pages;
      this.rows = Math.ceil((this.shift + n) / columns);
      this.width = columns * this.edge;
      this.height = this.rows * this.edge;
      this.canvas.style.width = `${GUTTER + this.width}px`;
      this.canvas.style.height = `${this.height}px`;
      this.canvas.width = Math.round((GUTTER + this.width) * density);
      this.canvas.height = Math.round(this.height * density);
      this.shade();
    }

    /** One pixel a cell. */
    shade() {
      const image = new ImageData(this.columns, this.rows), out = image.data;
      const back = rgb(paint.back), hole = rgb(paint.hole);
      const of = { [FREE]: rgb(paint.free), [BLOCKED]: rgb(paint.blocked), [HOLE]: hole, [UNINITIALISED]: rgb(paint.uninitialised) };
      const moves = [0, 1, 2, 3].map((level) => rgb(paint["move" + level]));
      for (let i = 0; i < this.zone.n; i++) {
        const v = verdict(this.zone, i);
        let colour = v === MOVABLE ? moves[share(word(this.zone, "cost", i), this.pages)] : of[v];
        if (state.reason !== null && !(v === BLOCKED && word(this.zone, "reasons", i) >>> state.reason & 1))
          colour = colour.map((c, at) => c * 0.22 + back[at] * 0.78);
        const at = 4 * (this.shift + i);
        out[at] = colour[0]; out[at + 1] = colour[1]; out[at + 2] = colour[2]; out[at + 3] = 255;
      }
      this.cells = new OffscreenCanvas(this.columns, this.rows);
      this.cells.getContext("2d").putImageData(image, 0, 0);
    }

    fit() { this.scale = 1; this.x = 0; this.y = 0; this.draw(); }

    /** Zoom by a factor about a point of the canvas, the cursor's cell or the middle. */
    zoom(factor, at) {
      if (at === undefined) {
        const [x, y] = this.cursor === null ? [this.width / 2, this.height / 2] : this.place(this.cursor);
        at = [x, y];
      }
      const most = Math.max(1, DEEPEST / this.edge), scale = Math.min(most, Math.max(1, this.scale * factor));
      this.x = (this.x + at[0]) * scale / this.scale - at[0];
      this.y = (this.y + at[1]) * scale / this.scale - at[1];
      this.scale = scale;
      this.draw();
    }

    /** Middle of a cell on the canvas, without the gutter. */
    place(i) {
      const edge = this.edge * this.scale, at = this.shift + i;
      return [(at % this.columns + 0.5) * edge - this.x, (Math.floor(at / this.columns) + 0.5) * edge - this.y];
    }

    /** The range at a point of the canvas; null beside all. */
    hit(x, y) {
      const edge = this.edge * this.scale;
      const column = Math.floor((x - GUTTER + this.x) / edge), line = Math.floor((y + this.y) / edge);
      const i = line * this.columns + column - this.shift;
      return x >= GUTTER && column >= 0 && column < this.columns && i >= 0 && i < this.zone.n ? i : null;
    }

    draw() {
      if (this.box.hidden) return;
      const edge = this.edge * this.scale, density = window.devicePixelRatio || 1, g = this.canvas.getContext("2d");
      this.x = Math.min(Math.max(0, this.x), this.columns * edge - this.width);
      this.y = Math.min(Math.max(0, this.y), this.rows * edge - this.height);
      this.canvas.classList.toggle("zoomed", this.scale > 1);
      g.setTransform(density, 0, 0, density, 0, 0);
      g.clearRect(0, 0, GUTTER + this.width, this.height);
      this.labels(g, edge);
      g.save();
      g.beginPath(); g.rect(GUTTER, 0, this.width, this.height); g.clip();
      g.translate(GUTTER - this.x, -this.y);
      g.imageSmoothingEnabled = false;
      g.drawImage(this.cells, 0, 0, this.columns * edge, this.rows * edge);
      const left = Math.floor(this.x / edge), right = Math.min(this.columns, Math.ceil((this.x + this.width) / edge));
      const top = Math.floor(this.y / edge), bottom = Math.min(this.rows, Math.ceil((this.y + this.height) / edge));
      if (edge >= 6) this.gaps(g, edge, left, right, top, bottom);
      if (edge >= 9) this.marks(g, edge, left, right, top, bottom);
      if (this.cursor !== null) this.frame(g, this.cursor, edge, 2);
      if (chosen && chosen.zone === this.index && chosen.row === this.row) this.frame(g, chosen.i, edge, 3);
      g.restore();
    }

    labels(g, edge) {
      const every = Math.max(1, Math.ceil(16 / edge));
      g.fillStyle = paint.dim; g.font = "11px system-ui, sans-serif"; g.textAlign = "right"; g.textBaseline = "middle";
      const base = this.zone.first - this.shift * this.pages;
      const first = Math.ceil(Math.floor(this.y / edge) / every) * every;
      for (let line = first; line < this.rows && line * edge - this.y < this.height; line += every) {
        const y = (line + 0.5) * edge - this.y;
        const middle = Math.min(Math.max(y, 6), this.height - 6);
        if (Math.abs(middle - y) <= 8) g.fillText(address(base + line * this.columns * this.pages), GUTTER - 7, middle);
      }
    }

    gaps(g, edge, left, right, top, bottom) {
      g.strokeStyle = paint.back; g.lineWidth = edge > 12 ? 2 : 1;
      g.beginPath();
      for (let c = left; c <= right; c++) { g.moveTo(c * edge, top * edge); g.lineTo(c * edge, bottom * edge); }
      for (let l = top; l <= bottom; l++) { g.moveTo(left * edge, l * edge); g.lineTo(right * edge, l * edge); }
      g.stroke();
    }

    /** A stroke through what is blocked, so that it is told apart without colour. */
    marks(g, edge, left, right, top, bottom) {
      g.strokeStyle = paint.back; g.lineWidth = Math.max(1.2, edge / 14);
      g.beginPath();
      for (let l = top; l < bottom; l++)
        for (let c = left; c < right; c++) {
          const i = l * this.columns + c - this.shift;
          if (i < 0 || i >= this.zone.n || verdict(this.zone, i) !== BLOCKED) continue;
          g.moveTo((c + 0.25) * edge, (l + 0.75) * edge); g.lineTo((c + 0.75) * edge, (l + 0.25) * edge);
        }
      g.stroke();
    }

    frame(g, i, edge, width) {
      const at = this.shift + i, x = at % this.columns * edge, y = Math.floor(at / this.columns) * edge;
      const room = Math.max(edge, 5), off = (room - edge) / 2;
      g.lineWidth = width + 2; g.strokeStyle = paint.back; g.strokeRect(x - off, y - off, room, room);
      g.lineWidth = width; g.strokeStyle = paint.mark; g.strokeRect(x - off, y - off, room, room);
    }

    /** Put the cursor on a range and bring it into view; its text is read out below. */
    go(i, speak = true) {
      this.cursor = Math.min(Math.max(0, i), this.zone.n - 1);
      const [x, y] = this.place(this.cursor);
      if (x < 0 || x > this.width) this.x += x - this.width / 2;
      if (y < 0 || y > this.height) this.y += y - this.height / 2;
      this.draw();
      if (speak) this.tell(this.canvas.getBoundingClientRect(), this.place(this.cursor));
    }

    tell(box, [x, y]) {
      fill($("tip"), describe({ row: this.row, zone: this.index, i: this.cursor }));
      $("tip").hidden = false;
      const left = Math.min(box.left + GUTTER + x + 16, window.innerWidth - $("tip").offsetWidth - 8);
      let top = box.top + y + 16;
      if (top + $("tip").offsetHeight > window.innerHeight - 8) top = box.top + y - $("tip").offsetHeight - 12;
      $("tip").style.left = `${Math.max(4, left)}px`;
      $("tip").style.top = `${Math.max(4, top)}px`;
      this.canvas.setAttribute("aria-description", describe({ row: this.row, zone: this.index, i: this.cursor }).map((l) => l[0]).join(", "));
    }

    leave() { $("tip").hidden = true; this.cursor = null; this.draw(); }

    next(step) {
      for (let i = (this.cursor ?? (step > 0 ? -1 : this.zone.n)) + step; i >= 0 && i < this.zone.n; i += step)
        if (verdict(this.zone, i) === BLOCKED
          && (state.reason === null || word(this.zone, "reasons", i) >>> state.reason & 1)) return this.go(i);
    }

    listen() {
      let drag = null;
      const at = (e) => { const box = this.canvas.getBoundingClientRect(); return [e.clientX - box.left, e.clientY - box.top]; };
      this.canvas.addEventListener("pointermove", (e) => {
        const [x, y] = at(e);
        if (drag && e.buttons & 1) {
          if (Math.abs(x - drag.x) + Math.abs(y - drag.y) > 4) drag.moved = true;
          this.x = drag.left + drag.x - x; this.y = drag.top + drag.y - y;
          if (drag.moved) { $("tip").hidden = true; this.cursor = null; }
          return this.draw();
        }
        const i = this.hit(x, y);
        if (i === null) return this.leave();
        this.cursor = i;
        this.draw();
        this.tell(this.canvas.getBoundingClientRect(), [x - GUTTER, y]);
      });
      this.canvas.addEventListener("pointerdown", (e) => {
        const [x, y] = at(e);
        drag = { x, y, left: this.x, top: this.y, moved: false };
        if (this.scale > 1) this.canvas.setPointerCapture(e.pointerId);
      });
      this.canvas.addEventListener("pointerup", (e) => {
        const [x, y] = at(e), i = this.hit(x, y);
        if (drag && !drag.moved && i !== null) keep({ row: this.row, zone: this.index, i });
        drag = null;
      });
      this.canvas.addEventListener("pointerleave", () => { drag = null; if (document.activeElement !== this.canvas) this.leave(); else $("tip").hidden = true; });
      this.canvas.addEventListener("blur", () => this.leave());
      this.canvas.addEventListener("wheel", (e) => {
        if (!e.ctrlKey && document.activeElement !== this.canvas) return;
        e.preventDefault();
        const [x, y] = at(e);
        this.zoom(Math.exp(-e.deltaY / 300), [Math.max(0, x - GUTTER), y]);
      }, { passive: false });
      this.canvas.addEventListener("keydown", (e) => {
        const here = this.cursor ?? 0;
        const acts = {
          ArrowLeft: () => this.go(here - 1), ArrowRight: () => this.go(this.cursor === null ? 0 : here + 1),
          ArrowUp: () => this.go(here - this.columns), ArrowDown: () => this.go(here + this.columns),
          Home: () => this.go(0), End: () => this.go(this.zone.n - 1), n: () => this.next(1), p: () => this.next(-1),
          "+": () => this.zoom(1.6), "=": () => this.zoom(1.6), "-": () => this.zoom(1 / 1.6), 0: () => this.fit(),
          Enter: () => this.cursor !== null && keep({ row: this.row, zone: this.index, i: this.cursor }),
          Escape: () => this.leave(),
        };
        if (!(e.key in acts) || e.ctrlKey || e.metaKey || e.altKey) return;
        e.preventDefault();
        acts[e.key]();
      });
    }
  }

  /** Keep a range: its text stays below the maps, with the command that explains it. */
  function keep(place) {
    chosen = place;
    const r = data.rows[place.row], start = r.zones[place.zone].first + place.i * r.nr_pages;
    const command = make("code", `${data.why} --why ${hex(start)}-${hex(start + r.nr_pages)} --release ${data.releases[r.release]}`);
    fill($("chosen"), describe(place));
    const line = make("p", "step by step: ");
    line.append(command);
    $("chosen").append(line);
    $("chosen").hidden = false;
    for (const map of maps) map.draw();
  }

  // ---- the tables below

  const sections = [...document.querySelectorAll("section.row")];

  /** Buttons that show a reason on the map, once for each table. */
  function enrich(section) {
    if (section.dataset.rich) return;
    section.dataset.rich = "1";
    for (const line of section.querySelectorAll("tr[data-reason]")) {
      const bit = Object.keys(data.reasons).find((b) => data.reasons[b] === line.dataset.reason);
      if (bit === undefined) continue;
      const cell = make("td"), button = make("button", "show", { title: "on the map", type: "button", "aria-pressed": "false", "data-bit": bit });
      button.addEventListener("click", () => highlight(state.reason === +bit ? null : +bit));
      cell.append(button);
      line.append(cell);
    }
    const head = section.querySelector(".blockers thead tr");
    if (head) head.append(make("th"));
    rank(section);
  }

  function press(bit) {
    state.reason = bit;
    for (const button of document.querySelectorAll("button[data-bit]"))
      button.setAttribute("aria-pressed", String(bit !== null && +button.dataset.bit === bit));
  }
  function highlight(bit) {
    press(bit);
    for (const map of maps) if (!map.box.hidden) { map.shade(); map.draw(); }
  }

  /** All ranges that can be had, by cost, in place of the few that the page was written with. */
  function rank(section) {
    const index = +section.dataset.row, r = data.rows[index], body = section.querySelector(".cheapest tbody");
    if (!body) return;
    let free = 0, firstFree = null;
    const found = [];
    r.zones.forEach((zone, z) => {
      for (let i = 0; i < zone.n; i++) {
        const v = verdict(zone, i);
        if (v === MOVABLE) found.push([word(zone, "cost", i), word(zone, "dropped", i), z, i]);
        else if (v === FREE && !free++) firstFree = { row: index, zone: z, i };
      }
    });
    found.sort((a, b) => a[0] - b[0] || a[1] - b[1] || a[2] - b[2] || a[3] - b[3]);
    const lines = [];
    if (firstFree) lines.push(line(firstFree, count(0), count(0), free > 1 ? ` (free now, as are ${plural(free - 1, "other")})` : " (free now)"));
    let shown = 0;
    const more = make("button", "", { type: "button" });
    function extend() {
      for (const [cost, dropped, zone, i] of found.slice(shown, shown + LISTED))
        lines.push(line({ row: index, zone, i }, count(cost), count(dropped), ""));
      shown = Math.min(found.length, shown + LISTED);
      body.replaceChildren(...lines);
      more.textContent = `${count(Math.min(LISTED, found.length - shown))} more of ${count(found.length - shown)}`;
      more.hidden = shown >= found.length;
    }
    more.addEventListener("click", extend);
    extend();
    section.querySelector(".cheapest").after(more);
  }

  function line(place, cost, dropped, more) {
    const r = data.rows[place.row], start = r.zones[place.zone].first + place.i * r.nr_pages;
    const element = make("tr"), cell = make("td"), button = make("button", hex(start), { type: "button", title: "show on the map", class: "pfn" });
    button.addEventListener("click", () => { keep(place); $("map-title").scrollIntoView({ block: "start" }); maps[place.zone].go(place.i, false); });
    cell.append(button);
    element.append(cell, make("td", data.zones[place.zone] + more), make("td", cost), make("td", dropped));
    return element;
  }

  // ---- size and release

  const cards = [...document.querySelectorAll(".card")];

  function show() {
    const at = row();
    cards.forEach((card, size) => {
      const r = data.rows.find((one) => one.nr_pages === data.sizes[size].nr_pages && one.release === state.release);
      const [yes, how] = r.answer, answer = card.querySelector(".answer");
      answer.textContent = yes ? "YES" : "NO";
      answer.className = `answer ${yes ? "yes" : "no"}`;
      card.querySelector(".how").textContent = how;
      r.bar.forEach(([, start, width], part) => {
        const bar = card.querySelectorAll("rect")[part];
        bar.setAttribute("x", start);
        bar.setAttribute("width", width);
      });
    });
    sections.forEach((section, index) => { section.hidden = index !== at; });
    if (sections[at]) enrich(sections[at]);
    press(null);
    chosen = null;
    $("chosen").hidden = true;
    $("tip").hidden = true;
    for (const map of maps) map.load();
  }

  readColours();
  data.zones.forEach((_, index) => { const map = new ZoneMap(index); maps.push(map); $("zones").append(map.box); });
  $("map-hint").hidden = false;
  for (const name of ["size", "release"])
    for (const input of document.querySelectorAll(`input[name=${name}]`))
      input.addEventListener("change", () => { state[name] = +input.value; show(); });
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { readColours(); for (const map of maps) { map.layout(); map.draw(); } });
  let width = $("zones").clientWidth;
  new ResizeObserver(() => {
    if (width === $("zones").clientWidth) return;
    width = $("zones").clientWidth;
    for (const map of maps) { map.layout(); map.fit(); }
  }).observe($("zones"));
  show();
  document.documentElement.dataset.ready = "1";
})();
