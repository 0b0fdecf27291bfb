/** Imports a package's module and tells what it declares; run in a worker of its own. */
import { parentPort, workerData } from "node:worker_threads";
import { defineNode, type NodeModule } from "@rspp/node-sdk/node-api";

const loaded: { node?: unknown } = await import((workerData as { module: string }).module);
if (loaded.node === undefined) throw new Error('it exports no "node": write `export const node = defineNode({...})`');
const { create: _, ...described } = defineNode(loaded.node as NodeModule);
parentPort?.postMessage(described);
