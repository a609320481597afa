
const root = document.documentElement;
const kept = () => { try { return localStorage.getItem("theme"); } catch { return null; } };
const keep = (theme) => { try { localStorage.setItem("theme", theme); } catch { /* a page opened as a file may not */ } };
if (kept()) root.dataset.theme = kept();
addEventListener("DOMContentLoaded", () => {
  const button = document.querySelector("#theme");
  button.hidden = false;
  button.addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    keep(root.dataset.theme);
  });
});
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((fold) => { fold.open = true; }));
