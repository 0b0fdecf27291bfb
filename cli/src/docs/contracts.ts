/** All contracts of the platform, by package, from their sources. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { usageError } from "../errors.ts";
import {
  type ProtoEnum,
  type ProtoField,
  type ProtoFile,
  type ProtoMessage,
  type ProtoService,
  parseProto,
} from "./proto-source.ts";

export interface Contracts {
  /** By package, e.g. `rspp.registry.v1`, in the order of their names. */
  readonly packages: ReadonlyMap<string, ContractPackage>;
  /** By full name. */
  readonly messages: ReadonlyMap<string, ProtoMessage>;
  readonly enums: ReadonlyMap<string, ProtoEnum>;
}

export interface ContractPackage {
  readonly name: string;
  readonly about: readonly string[];
  readonly services: readonly ProtoService[];
  readonly messages: readonly ProtoMessage[];
  readonly enums: readonly ProtoEnum[];
}

const root = fileURLToPath(new URL("../../../proto/rspp", import.meta.url));

/** @throws CommandError where the sources are not beside the program. */
export function readContracts(): Contracts {
  if (!existsSync(root))
    throw usageError("the contracts' sources are not here", "run it in a checkout of RSPP, where proto/ is");
  const files = readdirSync(root, { recursive: true, encoding: "utf8" })
    .filter((path) => path.endsWith(".proto"))
    .sort()
    .map((path) => parseProto(readFileSync(join(root, path), "utf8")));
  const packages = new Map<string, ContractPackage>();
  for (const name of [...new Set(files.map((file) => file.package))].sort())
    packages.set(
      name,
      packageOf(
        name,
        files.filter((file) => file.package === name),
      ),
    );
  const named = <T extends { name: string }>(of: (file: ProtoFile) => T[]): Map<string, T> =>
    new Map(files.flatMap((file) => of(file).map((item) => [`${file.package}.${item.name}`, item] as const)));
  return { packages, messages: named((file) => file.messages), enums: named((file) => file.enums) };
}

function packageOf(name: string, files: readonly ProtoFile[]): ContractPackage {
  return {
    name,
    about: files.map((file) => file.about).filter((about) => about !== ""),
    services: files.flatMap((file) => file.services),
    messages: files.flatMap((file) => file.messages),
    enums: files.flatMap((file) => file.enums),
  };
}

/** The full name a type stands for where it is written: of its own package, of an outer message, or in full already. */
export function resolveType(type: string, within: string, { messages, enums }: Contracts): string {
  for (let scope = within; ; scope = scope.replace(/\.?[^.]+$/, "")) {
    const full = scope === "" ? type : `${scope}.${type}`;
    if (messages.has(full) || enums.has(full)) return full;
    if (scope === "") return type;
  }
}

/** `required`, `max_len 64`, `secret`: what its options ask of a field. */
export function limitsOf({ options }: Pick<ProtoField, "options">): string[] {
  return options.flatMap((option) => {
    const sensitivity = /sensitivity\)\s*=\s*SENSITIVITY_(\w+)/.exec(option);
    if (sensitivity !== null) return [(sensitivity[1] ?? "").toLowerCase()];
    const cel = /\.cel\s*=.*message:\s*"((?:\\.|[^"])*)"/.exec(option);
    if (cel !== null) return [cel[1] ?? ""];
    const rule = /buf\.validate\.\w+\)\.([\w.]+)\s*=\s*(.*)$/.exec(option);
    if (rule === null) return [];
    const [, path = "", value = ""] = rule;
    const words = path.split(".").filter((word) => !scalarWords.has(word));
    const name = words.join(" ");
    if (name === "required") return ["required"];
    if (name === "defined_only") return [];
    if (name === "not_in" && value === "0") return ["required"];
    return [value === "true" ? name : `${name} ${value.replace(/^"|"$/g, "").replace(/\\\\/g, "\\")}`];
  });
}

const scalarWords = new Set([
  "string",
  "bytes",
  "uint32",
  "uint64",
  "int32",
  "int64",
  "double",
  "float",
  "enum",
  "repeated",
  "map",
]);
