"use strict";
(() => {
  const charts = JSON.parse(document.getElementById("charts").textContent);
  for (const [id, item] of Object.entries(charts)) {
    Bokeh.embed.embed_item(item, id);
  }
  const reveal = () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    const closed = target && target.closest("details:not([open])");
    if (closed) {
      closed.open = true;
      target.scrollIntoView();
    }
  };
  addEventListener("hashchange", reveal);
  reveal();
  for (const veil of document.querySelectorAll("button.veil")) {
    veil.addEventListener("click", () => {
      const shown = veil.getAttribute("aria-pressed") === "true";
      veil.setAttribute("aria-pressed", String(!shown));
    });
  }
})();
