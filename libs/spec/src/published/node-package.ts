/** A package of custom nodes as it is published: where it is and which bytes it has, never the bytes themselves. */
import { ok, type Result } from "@rspp/base/result";
import * as limits from "../limits.ts";
import type { SpecProblem } from "../problem.ts";
import { list, map, may, must, oneOf, text } from "../schema.ts";
import { description, specName, specVersion } from "../spec-schema.ts";
import { readDocument } from "./read-document.ts";

/** The first line of every package of nodes. */
export const NODE_PACKAGE_SCHEMA = "rspp/node-package/v1";

export const nodePackageSchema = map("a package of nodes", {
  schema: must(oneOf(NODE_PACKAGE_SCHEMA)),
  name: must(specName),
  /** The author's own, e.g. `1.4.0`. */
  version: must(specVersion),
  description: may(description),
  /** Where runtimes find it. */
  location: must(text(1_024)),
  sha256: must(text(64, { pattern: /^[0-9a-f]{64}$/, form: "64 hexadecimal digits, lower case" })),
  nodes: must(list("nodes", specName, 1, limits.NODES_MAX)),
});

export interface NodePackage {
  readonly name: string;
  readonly version: string;
  readonly location: string;
  readonly sha256: string;
  readonly nodes: readonly string[];
}

/** Never throws. */
export function parseNodePackage(source: string, fileName: string): Result<NodePackage, SpecProblem[]> {
  const read = readDocument<NodePackage>(source, fileName, nodePackageSchema);
  return read.ok ? ok(read.value.value) : read;
}

/** Of the normalised content; null for what this build cannot read. */
export function readNodePackage(content: Uint8Array): NodePackage | null {
  try {
    const { format, package: found } = JSON.parse(new TextDecoder().decode(content)) as {
      format?: unknown;
      package?: NodePackage;
    };
    return format === NODE_PACKAGE_SCHEMA && typeof found?.sha256 === "string" ? found : null;
  } catch {
    return null;
  }
}
