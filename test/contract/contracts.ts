/** What the contract tests share: the buf tool, and the contracts as descriptors with their comments. */
import { spawnSync } from "node:child_process";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import {
  createFileRegistry,
  type DescEnum,
  type DescFile,
  type DescMessage,
  type DescService,
  type FileRegistry,
  fromBinary,
} from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";

/** Root of the repository. */
export const root: string = join(dirname(fileURLToPath(import.meta.url)), "..", "..");
const bufScript = createRequire(import.meta.url).resolve("@bufbuild/buf/bin/buf");

export interface Outcome {
  status: number;
  /** stdout and stderr together. */
  text: string;
}

/** Runs buf with `args` in `cwd`; never throws for a failing command. */
export function buf(args: readonly string[], cwd: string = root): Outcome {
  const run = spawnSync(process.execPath, [bufScript, ...args], { cwd, encoding: "utf8", maxBuffer: 1 << 26 });
  return { status: run.status ?? -1, text: `${run.stdout}${run.stderr}` };
}

/** The contracts under `proto/` as compiled now, comments included. */
export function contracts(): FileRegistry {
  const run = spawnSync(process.execPath, [bufScript, "build", "--as-file-descriptor-set", "-o", "-"], {
    cwd: root,
    maxBuffer: 1 << 26,
  });
  if (run.status !== 0) throw new Error(`buf build: ${run.stderr.toString()}`);
  return createFileRegistry(fromBinary(FileDescriptorSetSchema, run.stdout));
}

const ours = (name: string): boolean => name.startsWith("rspp.");

/** Files of this project, without what they import. */
export function ownFiles(registry: FileRegistry): DescFile[] {
  return [...registry.files].filter((file) => ours(file.proto.package));
}

export function ownMessages(registry: FileRegistry): DescMessage[] {
  return [...registry].filter((type): type is DescMessage => type.kind === "message" && ours(type.typeName));
}

export function ownEnums(registry: FileRegistry): DescEnum[] {
  return [...registry].filter((type): type is DescEnum => type.kind === "enum" && ours(type.typeName));
}

export function ownServices(registry: FileRegistry): DescService[] {
  return [...registry].filter((type): type is DescService => type.kind === "service" && ours(type.typeName));
}
