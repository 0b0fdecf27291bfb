/** Node packages that a command is given with `--nodes`. */
import { stat } from "node:fs/promises";
import type { NodeHostPort } from "@rspp/ports/node-host";
import { openNodeHosts } from "@rspp/runtime/nodes/open-hosts";
import type { SpecOptions } from "@rspp/spec/node-catalogue";
import { NODE_PACKAGE_SCHEMA } from "@rspp/spec/published/node-package";
import { InputError } from "./errors.ts";
import type { SpecFile } from "./spec-file.ts";

/** @throws InputError that names the folder and what to do. */
export async function openNodes(dirs: readonly string[] | undefined): Promise<NodeHostPort | null> {
  try {
    return await openNodeHosts(dirs ?? []);
  } catch (failure) {
    throw new InputError(failure instanceof Error ? failure.message : String(failure));
  }
}

/** For checking alone: nothing runs on when this is done. */
export async function catalogueFrom(dirs: readonly string[] | undefined): Promise<SpecOptions> {
  const nodes = await openNodes(dirs);
  if (nodes === null) return {};
  const known = new Map(nodes.packages().map((one) => [`${one.name}@${one.version}`, one]));
  await nodes.close();
  return { nodes: (name) => known.get(name) ?? null };
}

/** The packages of a folder as they are published, by their digests; null for what is no folder. */
export async function packagesIn(path: string): Promise<readonly SpecFile[] | null> {
  const found = await stat(path).catch(() => null);
  if (found === null || !found.isDirectory()) return null;
  const host = await openNodes([path]);
  const packages = host?.packages() ?? [];
  await host?.close();
  return packages.map(({ name, version, digest, description = "" }) => {
    const said = description === "" ? {} : { description };
    const what = { name, version, ...said, location: path, sha256: digest, nodes: [name] };
    const lines = Object.entries(what).map(([field, value]) => `${field}: ${JSON.stringify(value)}\n`);
    return { path, source: `schema: ${NODE_PACKAGE_SCHEMA}\n${lines.join("")}`, format: "yaml" };
  });
}
