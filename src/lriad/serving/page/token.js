// The question for the station's token.

import { h } from "./dom.js";

let asking = null;

/** What the reader gives, null where they do not; all who ask at a time share one question. */
export function askForToken(wasWrong) {
  asking ??= question(wasWrong).finally(() => {
    asking = null;
  });
  return asking;
}

function question(wasWrong) {
  return new Promise((resolve) => {
    const input = h("input", { type: "password", name: "token", autocomplete: "current-password", required: true, pattern: "[\\x21-\\x7e]+" });
    const dialog = h(
      "dialog",
      { class: "ask", "aria-labelledby": "token-title" },
      h(
        "form",
        { method: "dialog" },
        h("h2", { id: "token-title" }, "This station asks for a token"),
        h("p", {}, wasWrong ? "That token was not accepted." : "Whoever started the station knows it. It is kept until this tab is closed."),
        h("input", { type: "text", autocomplete: "username", value: "station", hidden: true }), // for who keeps passwords
        h("label", { class: "field" }, h("span", { class: "field-label" }, "Token"), input),
        h(
          "p",
          { class: "row" },
          h("button", { type: "submit", value: "given", class: "primary" }, "Go on"),
          h("button", { type: "submit", value: "", formnovalidate: true }, "Cancel"),
        ),
      ),
    );
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "given" ? input.value.trim() : null);
    });
    document.body.append(dialog);
    dialog.showModal();
    input.focus();
  });
}
