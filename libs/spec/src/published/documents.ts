/** What can be published besides pipelines, by kind: its check and its normalised form. */
import { err, ok, type Result } from "@rspp/base/result";
import { documentKind } from "../document-kind.ts";
import { parseModule } from "../parse-module.ts";
import { parsePolicy } from "../policy/parse-policy.ts";
import { ProblemList, type SpecProblem } from "../problem.ts";
import { fieldText, readYaml } from "../read-yaml.ts";
import { parseRollout } from "../rollout/rollout.ts";
import { ROLLOUT_SCHEMA } from "../rollout/rollout-schema.ts";
import { parseTenantConfig } from "../tenant/tenant-config.ts";
import { TENANT_SCHEMA } from "../tenant/tenant-schema.ts";
import { NODE_PACKAGE_SCHEMA, parseNodePackage } from "./node-package.ts";
import { PROVIDER_CONFIG_SCHEMA, parseProviderConfig } from "./provider-config.ts";

/** As the registry calls them. */
export type PublishedKind = "module" | "policy" | "rollout" | "node_package" | "provider_config" | "tenant_config";

export interface PublishedDocument {
  readonly kind: PublishedKind;
  readonly name: string;
  /** What it says, without comments and layout. Its bytes are its canonical JSON. */
  readonly content: Readonly<Record<string, unknown>>;
}

type Parse = (text: string, fileName: string) => Result<PublishedDocument, SpecProblem[]>;

/** A tenant has one configuration. */
export const TENANT_CONFIG_NAME = "default";

const parsers: Readonly<Record<PublishedKind, Parse>> = {
  module: (text, fileName) => {
    const read = parseModule(text, fileName);
    if (!read.ok) return read;
    const root: unknown = readYaml(text, new ProblemList(fileName))?.roots[0];
    const name = fieldText(root, "name") ?? "";
    const { schema: format, ...module } = jsonOf(root);
    return ok({ kind: "module", name, content: { format, module } });
  },
  policy: (text, fileName) => {
    const read = parsePolicy(text, fileName);
    // Its content is read by the same parser: JSON is YAML.
    return read.ok ? ok({ kind: "policy", name: read.value.name, content: { ...read.value } }) : read;
  },
  rollout: (text, fileName) => {
    const read = parseRollout(text, fileName);
    if (!read.ok) return read;
    const { value: rollout } = read;
    return ok({ kind: "rollout", name: rollout.name, content: { format: ROLLOUT_SCHEMA, rollout } });
  },
  tenant_config: (text, fileName) => {
    const read = parseTenantConfig(text, fileName);
    if (!read.ok) return read;
    const content = { format: TENANT_SCHEMA, config: withoutSchema(read.value) };
    return ok({ kind: "tenant_config", name: TENANT_CONFIG_NAME, content });
  },
  provider_config: (text, fileName) => {
    const read = parseProviderConfig(text, fileName);
    if (!read.ok) return read;
    const content = { format: PROVIDER_CONFIG_SCHEMA, config: withoutSchema(read.value) };
    return ok({ kind: "provider_config", name: read.value.name, content });
  },
  node_package: (text, fileName) => {
    const read = parseNodePackage(text, fileName);
    if (!read.ok) return read;
    const content = { format: NODE_PACKAGE_SCHEMA, package: withoutSchema(read.value) };
    return ok({ kind: "node_package", name: read.value.name, content });
  },
};

/** Never throws. `kind` undefined: by the document's own `schema:` line. */
export function parsePublished(
  text: string,
  fileName: string,
  kind?: PublishedKind,
): Result<PublishedDocument, SpecProblem[]> {
  const said = documentKind(text);
  const own = Object.hasOwn(parsers, said) ? (said as PublishedKind) : undefined;
  const wanted = kind ?? own;
  if (wanted !== undefined && (own === undefined || own === wanted)) return parsers[wanted](text, fileName);
  const problems = new ProblemList(fileName);
  const message = wanted === undefined ? "nothing of this schema is published here" : `this is no ${wanted}`;
  const remedy = `start with the schema line of its kind, one of ${Object.keys(parsers).map(lineOf).join(", ")}`;
  problems.add({ line: 1, column: 1 }, { path: "schema", code: "not_allowed", message, remedy });
  return err(problems.sorted());
}

function lineOf(kind: string): string {
  return `schema: rspp/${kind.replaceAll("_", "-")}/v1`;
}

function withoutSchema<T extends object>(document: T): Record<string, unknown> {
  const { schema: _schema, ...rest } = document as Record<string, unknown>;
  return rest;
}

function jsonOf(root: unknown): Record<string, unknown> {
  const node = root as { toJSON?: () => unknown } | undefined;
  const value = node?.toJSON?.();
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
}
