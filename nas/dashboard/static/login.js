"use strict";

// The token stands behind the # of the address, which browsers send to nobody; it is taken out of it at once.
(() => {
  const form = document.getElementById("login");
  const field = document.getElementById("token");
  const said = document.getElementById("said");

  async function enter(token) {
    const answer = await fetch("/login", {
      method: "POST",
      headers: { "Content-Type": "application/json", Accept: "application/json" },
      body: JSON.stringify({ token }),
    });
    if (answer.ok) {
      location.replace("/");
    } else {
      said.textContent = (await answer.json()).error;
    }
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    enter(field.value);
  });
  const given = location.hash.slice(1);
  if (given) {
    history.replaceState(null, "", "/login");
    enter(given);
  }
})();
