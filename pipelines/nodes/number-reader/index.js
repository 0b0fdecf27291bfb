/**
 * Example node of a turn: text in, text out. Numbers of `least_digits` and more are written out digit by digit, so that a voice
 * reads a code as a code. A number may be torn over two events, so that digits at the end of one wait for the next.
 */
import { defineNode } from "@rspp/node-sdk/node-api";

const WORDS = {
  en: ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"],
  de: ["null", "eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun"],
};

export const node = defineNode({
  name: "number-reader",
  version: "1.0.0",
  description: "reads numbers digit by digit",
  scope: "turn",
  inputs: [{ name: "text", type: "text" }],
  outputs: [{ name: "text", type: "text" }],
  settings: [
    { name: "language", type: "text", oneOf: ["en", "de"], default: "en" },
    { name: "least_digits", type: "number", min: 1, max: 32, default: 4 },
  ],
  purity: "pure",
  cancel: "none",
  state: "none",
  create(context) {
    const words = WORDS[context.settings.language];
    const number = new RegExp(`\\d{${context.settings.least_digits},}`, "g");
    let held = "";
    let said = { type: "text", text: "", segment: 0, revision: 1, final: true, confidence: 1, language: "" };
    const read = (text) =>
      text.replace(number, (digits) => {
        context.metric("numbers_read", 1);
        return [...digits].map((digit) => words[Number(digit)]).join(" ");
      });
    return {
      onEvent({ body, emit }) {
        if (body.type === "end") {
          if (held !== "") emit("text", { ...said, text: read(held) });
          held = "";
        }
        if (body.type !== "text") return;
        said = body;
        const text = held + body.text;
        held = text.match(/\d+$/)?.[0] ?? "";
        const ready = read(text.slice(0, text.length - held.length));
        if (ready !== "") emit("text", { ...body, text: ready });
      },
    };
  },
});
