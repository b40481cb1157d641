// Before the first paint: the theme chosen here before, so that nothing flashes.
(() => {
  try {
    const theme = localStorage.getItem("tillstream-theme");
    if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  } catch {
    // Storage is closed to us: the system's theme it is.
  }
})();
