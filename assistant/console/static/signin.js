// The sign-in page: hands the token over once; what comes back is a cookie that no script can read.

const form = /** @type {HTMLFormElement} */ (document.getElementById("signin"));
const wrong = /** @type {HTMLElement} */ (document.getElementById("wrong"));
const token = /** @type {HTMLInputElement} */ (document.getElementById("token"));

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  wrong.textContent = "";
  const answer = await fetch("/signin", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ token: token.value }),
  }).catch(() => null);
  if (answer?.ok) {
    location.replace("/");
    return;
  }
  wrong.textContent = answer ? "This is not the token." : "The assistant does not answer.";
  token.select();
});
