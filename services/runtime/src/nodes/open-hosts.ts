/** The hosts of foreign nodes that a process is configured with. */
import type { NodeHostPort } from "@rspp/ports/node-host";
import type { NodeCatalogue } from "@rspp/spec/node-catalogue";
import { createNodeHosts } from "./node-hosts.ts";

/** @param dirs of node packages; none opens nothing. @throws Error that names the folder and the remedy. */
export async function openNodeHosts(dirs: readonly string[]): Promise<NodeHostPort | null> {
  if (dirs.length === 0) return null;
  const { createWorkerHost } = await import("./worker-host.ts");
  return createNodeHosts([await createWorkerHost({ dirs })]);
}

/** What specs are checked and compiled against. */
export function catalogueOf(nodes: NodeHostPort | null): { nodes?: NodeCatalogue } {
  return nodes === null ? {} : { nodes: (name) => nodes.describe(name) };
}

/** Folders in one text, with a comma between. */
export function foldersOf(text: string): string[] {
  return text
    .split(",")
    .map((dir) => dir.trim())
    .filter((dir) => dir !== "");
}
