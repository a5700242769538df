// Before anything is drawn: the colours that were chosen last time. A classic script, because modules run too late for that.
"use strict";

const themes = ["auto", "light", "dark"];

// A browser may refuse to remember anything; then the system's colours are shown at each visit.
function storedTheme() {
  try {
    const stored = localStorage.getItem("agon-theme");
    return themes.includes(stored) ? stored : "auto";
  } catch {
    return "auto";
  }
}

function applyTheme(theme) {
  document.documentElement.dataset.theme = theme;
  try {
    localStorage.setItem("agon-theme", theme);
  } catch {
    // shown all the same, for this visit
  }
}

applyTheme(storedTheme());

document.addEventListener("DOMContentLoaded", () => {
  const button = document.getElementById("theme");
  const show = () => {
    const { theme } = document.documentElement.dataset;
    const words = { auto: "Auto", light: "Light", dark: "Dark" }[theme];
    document.getElementById("theme-text").textContent = words;
    button.setAttribute("aria-label", `Colours: ${words}. Change`);
  };
  button.addEventListener("click", () => {
    const now = themes.indexOf(document.documentElement.dataset.theme);
    applyTheme(themes[(now + 1) % themes.length]);
    show();
  });
  show();
});
