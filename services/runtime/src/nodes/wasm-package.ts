/**
 * Node packages of WebAssembly (F-124): a `package.json` whose `main` is a `.wasm` file and whose `rspp` field declares the
 * node. What the module may reach is what it imports, and that is looked at before it ever runs.
 */
import { readFile } from "node:fs/promises";
import { defineNode, type NodeDescriptor } from "@rspp/node-sdk/node-api";
import { readMemory } from "./wasm-binary.ts";
import { WASM_EXPORTS, WASM_IMPORTS } from "./wasm-node.ts";

/** @throws Error that names the field or import and the remedy. */
export async function readWasmPackage(
  manifest: Readonly<Record<string, unknown>>,
  file: string,
): Promise<NodeDescriptor> {
  const declared = manifest.rspp;
  if (typeof declared !== "object" || declared === null)
    throw new Error('package.json: `rspp` is missing: declare `{"scope": "turn", "inputs": […], "outputs": […]}`');
  const { name, version, description } = manifest;
  const described = { ...(description === undefined ? {} : { description }), ...declared, name, version };
  const { create: _, ...descriptor } = defineNode({
    ...(described as unknown as NodeDescriptor),
    create: () => ({ onEvent: () => undefined }),
  });
  await checkModule(await readFile(file));
  return { purity: "pure", cancel: "cooperative", ...descriptor };
}

async function checkModule(bytes: Uint8Array<ArrayBuffer>): Promise<void> {
  const module = await WebAssembly.compile(bytes).catch((failure: unknown) => {
    throw new Error(`the module does not compile: ${failure instanceof Error ? failure.message : String(failure)}`);
  });
  for (const { module: from, name, kind } of WebAssembly.Module.imports(module)) {
    const memory = from === "env" && name === "memory" && kind === "memory";
    const known = from === "rspp" && kind === "function" && WASM_IMPORTS.includes(name);
    if (!memory && !known)
      throw new Error(
        `the module imports ${kind} ${from}.${name}, and a node has no files, network or clock: build it without`,
      );
  }
  const exported = new Set(WebAssembly.Module.exports(module).map(({ name, kind }) => `${kind} ${name}`));
  for (const name of WASM_EXPORTS)
    if (!exported.has(`function ${name}`)) throw new Error(`the module exports no function \`${name}\``);
  const { own, imported } = readMemory(bytes);
  if (own > 0 || imported === null)
    throw new Error("the module has a memory of its own: import it as env.memory, so that it can be bounded");
}
