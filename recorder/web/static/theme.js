// Sets the theme before anything is drawn, so that a dark page does not flash white.
(() => {
  const kept = localStorage.getItem("theme");
  if (kept === "dark" || kept === "light") document.documentElement.dataset.theme = kept;
})();
