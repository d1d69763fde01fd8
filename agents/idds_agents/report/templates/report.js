"use strict";
// Every frame is in the page already: the slider shows one and hides the others. Nothing is fetched, ever.
(() => {
  const all = (selector, from = document) => [...from.querySelectorAll(selector)];
  const data = JSON.parse(document.getElementById("frames").textContent);
  const slider = document.getElementById("slider");
  document.documentElement.classList.add("script");

  const shown = all("[data-target]");
  for (const box of shown) {
    box.addEventListener("change", () => {
      const on = shown.filter((b) => b.checked).map((b) => b.dataset.target);
      for (const layer of all("[data-of]")) layer.toggleAttribute("hidden", !on.includes(layer.dataset.of));
      for (const map of all("svg.map")) map.classList.toggle("single", on.length === 1);
    });
  }
  if (!slider) return;

  const note = document.getElementById("note");
  const frames = all("[data-frame]").map((e) => [e, Number(e.dataset.frame)]);
  const points = all("[data-k]").map((e) => [e, Number(e.dataset.k), Number(e.dataset.gone || Infinity)]);
  const cursors = all(".cursor").map((e) => [e, e.ownerSVGElement]);
  const show = (position) => {
    const k = data.numbers[position];
    for (const [frame, number] of frames) frame.toggleAttribute("hidden", number !== k);
    for (const [point, born, gone] of points) {
      point.toggleAttribute("hidden", born > k + 1 || gone <= k);
      point.classList.toggle("next", born === k + 1);
      point.classList.toggle("new", born === k && k > 1);
    }
    for (const [cursor, svg] of cursors) {
      const { first, last, most } = svg.dataset;
      const x = Number(first) + ((k - 1) / Math.max(most - 1, 1)) * (last - first);
      cursor.setAttribute("x1", x);
      cursor.setAttribute("x2", x);
      cursor.removeAttribute("hidden");
    }
    slider.setAttribute("aria-valuetext", `iteration ${k} of ${data.numbers.at(-1)}`);
    note.textContent = `Iteration ${k} of ${data.numbers.at(-1)}: ${data.notes[position]}`;
  };
  slider.addEventListener("input", () => { stop(); show(Number(slider.value)); });

  const play = document.getElementById("play");
  let timer = 0;
  const stop = () => {
    clearInterval(timer);
    timer = 0;
    play.textContent = "Play";
  };
  play.addEventListener("click", () => {
    if (timer) { stop(); return; }
    play.textContent = "Stop";
    if (Number(slider.value) >= data.numbers.length - 1) slider.value = -1;
    timer = setInterval(() => {
      slider.value = Number(slider.value) + 1;
      show(Number(slider.value));
      if (Number(slider.value) >= data.numbers.length - 1) stop();
    }, 600);
    slider.value = Math.max(0, Number(slider.value));
    show(Number(slider.value));
  });
  for (const part of all(".needs-script")) part.removeAttribute("hidden");
  show(Number(slider.value));
})();
