/** Layers of configuration from a folder (F-080), read once when the runtime starts: a layer that is wrong is found then. */
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { err, ok, type Result } from "@rspp/base/result";
import { type Overrides, parseOverrides } from "@rspp/spec/overrides";
import { formatProblems } from "@rspp/spec/problem";
import { limits } from "./limits.ts";

export interface ConfigLayers {
  /** What is laid over the pipelines of a tenant: its environment first. */
  of(tenantId: string): readonly Overrides[];
}

/**
 * Every `*.yaml`, `*.yml` and `*.json` of the folder, in the order of their names.
 *
 * @param environment whose layer counts; "" none.
 * @returns `err`: every problem with file, line and remedy.
 */
export async function loadLayers(folder: string, environment: string): Promise<Result<ConfigLayers, string>> {
  let names: string[];
  try {
    names = (await readdir(folder)).filter((name) => /\.(ya?ml|json)$/.test(name)).sort();
  } catch {
    return err(`${folder} cannot be read: name an existing folder of layers, or leave the key out`);
  }
  if (names.length > limits.LAYER_FILES_MAX) {
    return err(`${folder} holds ${names.length} layers: ${limits.LAYER_FILES_MAX} are allowed`);
  }
  const layers: Overrides[] = [];
  const faults: string[] = [];
  for (const name of names) {
    const file = join(folder, name);
    const text = await readFile(file, "utf8").catch(() => null);
    const read = text === null ? err([]) : parseOverrides(text, file);
    if (!read.ok) faults.push(text === null ? `${file} cannot be read` : formatProblems(read.error, text));
    else if (read.value.layer === "session") {
      faults.push(`${file}: a session brings its own layer: use layer: tenant or layer: environment`);
    } else layers.push(read.value);
  }
  const environments = layers.filter((layer) => layer.layer === "environment");
  if (environment !== "" && !environments.some((layer) => layer.name === environment)) {
    const known = environments.map((layer) => layer.name).join(", ") || "none";
    faults.push(`no layer is of environment ${environment}: ${folder} has ${known}`);
  }
  if (faults.length > 0) return err(faults.join("\n"));
  const own = environments.filter((layer) => layer.name === environment);
  const tenants = Map.groupBy(
    layers.filter(({ layer }) => layer === "tenant"),
    ({ name }) => name,
  );
  return ok({ of: (tenantId) => [...own, ...(tenants.get(tenantId) ?? [])] });
}
