// Pays with Stripe's Payment Element: the card goes from Stripe's frame to Stripe, and never through this page.
"use strict";

(() => {
  const form = document.getElementById("payment");
  const button = form.querySelector("button");
  const problem = document.getElementById("payment-problem");
  const place = document.getElementById("payment-element");

  const tell = (text) => {
    problem.textContent = text;
    problem.hidden = false;
  };

  if (!window.Stripe) {
    place.removeAttribute("aria-busy");
    place.textContent = "";
    tell("Stripe's payment form could not be loaded. Check your connection or content blocker, then reload this page.");
    return;
  }

  const styles = getComputedStyle(document.documentElement);
  const color = (name) => styles.getPropertyValue(name).trim();
  const stripe = window.Stripe(form.dataset.publishableKey);
  const elements = stripe.elements({
    clientSecret: form.dataset.clientSecret,
    appearance: {
      theme: matchMedia("(prefers-color-scheme: dark)").matches ? "night" : "stripe",
      variables: {
        colorPrimary: color("--accent"),
        colorBackground: color("--paper"),
        colorText: color("--ink"),
        colorDanger: color("--bad"),
        borderRadius: "8px",
      },
    },
  });

  const element = elements.create("payment");
  element.on("ready", () => {
    place.removeAttribute("aria-busy");
    button.disabled = false;
  });
  element.on("loaderror", () => tell("Stripe's payment form could not be loaded. Reload this page to try again."));
  place.textContent = "";
  element.mount("#payment-element");

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    button.disabled = true;
    problem.hidden = true;
    const { error } = await stripe.confirmPayment({
      elements,
      confirmParams: { return_url: form.dataset.returnUrl },
    });
    // Only a failure comes back here: otherwise the browser has left for the return address.
    button.disabled = false;
    const forPayer = error.type === "card_error" || error.type === "validation_error";
    tell(forPayer ? error.message : "The payment could not be made. Nothing was charged. Please try again.");
  });
})();
