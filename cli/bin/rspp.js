#!/usr/bin/env node
// Plain JavaScript: it must run on any Node to say which one is needed.
import module from "node:module";

const major = Number(process.versions.node.split(".")[0]);
if (major < 24) {
  console.error(
    `rspp needs Node 24 or newer; this is ${process.versions.node}.\n` +
      "help: run it through npm (`npm start`, `npx rspp`), which uses the Node that `npm ci` installed, or install Node 24.",
  );
  process.exit(2);
}
module.enableCompileCache?.();
await import("../src/main.ts");
