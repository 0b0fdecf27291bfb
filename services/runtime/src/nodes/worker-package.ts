/**
 * Node packages on disk (F-121): a folder with a `package.json` that names it, its version and its module (`main`), which exports
 * `node`. The digest is the SHA-256 over the paths and bytes of its files, so that other code under one version is found.
 */
import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { join, relative, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { Worker } from "node:worker_threads";
import { workerUrl } from "@rspp/host/worker-url";
import type { NodeDescriptor } from "@rspp/node-sdk/node-api";
import type { NodePackage } from "@rspp/ports/node-host";
import { readWasmPackage } from "./wasm-package.ts";

export interface WorkerPackage extends NodePackage {
  readonly dir: string;
  /** Absolute path of its module. */
  readonly module: string;
  /** What a package of WebAssembly declares (F-124); null for JavaScript. */
  readonly wasm: NodeDescriptor | null;
}

const FILES_MAX = 1_000;
const BYTES_MAX = 16 << 20;
const DESCRIBE_MS = 10_000;

/** @param dirs package folders, or folders of package folders. @throws Error that names the folder and the remedy. */
export async function readPackages(dirs: readonly string[]): Promise<WorkerPackage[]> {
  const found: WorkerPackage[] = [];
  for (const dir of dirs) for (const one of await packageDirs(resolve(dir))) found.push(await readPackage(one));
  const names = new Map<string, string>();
  for (const { name, version, dir } of found) {
    const other = names.get(`${name}@${version}`);
    if (other !== undefined)
      throw new Error(`${dir}: ${name}@${version} is in ${other} already: give one another version`);
    names.set(`${name}@${version}`, dir);
  }
  return found;
}

async function packageDirs(dir: string): Promise<string[]> {
  const entries = await readdir(dir, { withFileTypes: true }).catch(() => {
    throw new Error(`${dir}: is no folder that can be read: name the folder of a node package, or one that holds some`);
  });
  if (entries.some(({ name }) => name === "package.json")) return [dir];
  const inside: string[] = [];
  for (const entry of entries.toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
    if (!entry.isDirectory() || entry.name === "node_modules") continue;
    const files = await readdir(join(dir, entry.name));
    if (files.includes("package.json")) inside.push(join(dir, entry.name));
  }
  if (inside.length === 0) throw new Error(`${dir}: holds no package.json, nor a folder with one: name a node package`);
  return inside;
}

async function readPackage(dir: string): Promise<WorkerPackage> {
  const manifest = JSON.parse(await readFile(join(dir, "package.json"), "utf8")) as Record<string, unknown>;
  const main = typeof manifest.main === "string" ? manifest.main : "index.js";
  const module = join(dir, main);
  const digest = await digestOf(dir);
  const isWasm = main.endsWith(".wasm");
  const described = await (isWasm ? readWasmPackage(manifest, module) : describe(module)).catch((error: unknown) => {
    const why = error instanceof Error ? error.message : String(error);
    throw new Error(`${dir}: its module ${main} does not describe a node: ${why}`);
  });
  if (described.name !== manifest.name || described.version !== manifest.version) {
    const [is, says] = [
      `${described.name}@${described.version}`,
      `${String(manifest.name)}@${String(manifest.version)}`,
    ];
    throw new Error(`${dir}: the module calls itself ${is}, package.json says ${says}: make them one`);
  }
  if (isWasm) return { ...described, host: "wasm", digest, dir, module, wasm: described };
  return { ...described, host: "worker", digest, dir, module, wasm: null };
}

async function digestOf(dir: string): Promise<string> {
  const hash = createHash("sha256");
  let files = 0;
  let bytes = 0;
  const walk = async (at: string): Promise<void> => {
    const entries = await readdir(at, { withFileTypes: true });
    for (const entry of entries.toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
      const path = join(at, entry.name);
      if (entry.isDirectory()) await walk(path);
      if (!entry.isFile()) continue;
      const content = await readFile(path);
      files += 1;
      bytes += content.length;
      if (files > FILES_MAX || bytes > BYTES_MAX)
        throw new Error(`${dir}: has more than ${FILES_MAX} files or ${BYTES_MAX >> 20} MiB: bundle the package`);
      hash.update(`${relative(dir, path).replaceAll("\\", "/")}\0${content.length}\0`).update(content);
    }
  };
  await walk(dir);
  return hash.digest("hex");
}

/** Its code runs in a worker even to be described: a module that loops or leaks ends there. */
function describe(module: string): Promise<Omit<NodePackage, "host" | "digest">> {
  const script = workerUrl("worker-describe", import.meta.url);
  const worker = new Worker(script, {
    workerData: { module: pathToFileURL(module).href },
    resourceLimits: { maxOldGenerationSizeMb: 128 },
    env: {},
  });
  return new Promise((done, fail) => {
    const timer = setTimeout(() => fail(new Error(`no answer within ${DESCRIBE_MS / 1_000} s`)), DESCRIBE_MS);
    worker.once("message", done);
    worker.once("error", fail);
    worker.once("exit", () => fail(new Error("it ended before it had described itself")));
    worker.once("message", () => clearTimeout(timer));
    worker.once("error", () => clearTimeout(timer));
  }).finally(() => worker.terminate()) as Promise<Omit<NodePackage, "host" | "digest">>;
}
