// Shows the address this page was reached at, and whether the server takes new questions.

for (const place of document.querySelectorAll("[data-origin]")) {
  place.textContent = location.origin;
}

const badge = document.getElementById("ready");
try {
  const { ok } = await fetch("/readyz", { cache: "no-store" });
  badge.className = ok ? "badge good" : "badge bad";
  badge.textContent = ok ? "ready" : "not ready";
} catch {
  badge.className = "badge bad";
  badge.textContent = "not reachable";
}
