/** Simulated: every way a foreign node can fail, chosen by the setting `mode`. */
import { defineNode } from "@rspp/node-sdk/node-api";

const leaked = [];
const never = () => new Promise(() => undefined);
const burn = (ms, stop = () => false) => {
  const until = performance.now() + ms;
  while (performance.now() < until) if (stop()) return;
};

const events = {
  echo: ({ body, emit }) => void emit("text", body),
  loop: () => burn(Number.POSITIVE_INFINITY),
  poll: ({ cancel }, metric) => {
    metric("polling", 1);
    burn(Number.POSITIVE_INFINITY, () => cancel.cancelled);
    cancel.check();
  },
  throw: () => {
    throw new Error("faulty");
  },
  throw_later: async ({ body, emit }) => {
    setTimeout(() => {
      throw new Error("faulty");
    }, 1);
    await never();
    emit("text", body);
  },
  leak: () => {
    for (;;) leaked.push(Array.from({ length: 10_000 }, (_, i) => ({ i })));
  },
  hang: never,
  exit: () => process.exit(1),
  cpu: ({ body, emit }) => {
    burn(120);
    emit("text", body);
  },
};

export const node = defineNode({
  name: "faulty",
  version: "1.0.0",
  scope: "either",
  inputs: [{ name: "text", type: "text" }],
  outputs: [{ name: "text", type: "text" }],
  cancel: "cooperative",
  create: ({ settings: { mode }, metric }) => ({
    init: () => (mode === "init_hang" ? never() : mode === "init_loop" ? burn(Number.POSITIVE_INFINITY) : undefined),
    onEvent: (event) => (event.body.type === "end" ? undefined : (events[mode] ?? events.echo)(event, metric)),
    stop: () => (mode === "stop_hang" ? never() : undefined),
  }),
});
