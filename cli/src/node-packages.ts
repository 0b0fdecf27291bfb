/** Node packages that a command is given with `--nodes`. */
import type { NodeHostPort } from "@rspp/ports/node-host";
import { openNodeHosts } from "@rspp/runtime/nodes/open-hosts";
import type { SpecOptions } from "@rspp/spec/node-catalogue";
import { InputError } from "./errors.ts";

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
