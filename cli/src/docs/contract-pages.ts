/** One page of the reference for each package of the contracts. */
import { type ContractPackage, type Contracts, limitsOf, resolveType } from "./contracts.ts";
import { anchor, cell, code, markdownTable } from "./markdown.ts";
import type { ProtoEnum, ProtoMessage, ProtoService } from "./proto-source.ts";
import { sampleOf } from "./sample.ts";

/** API port by package; a stream service (links, invocations) has its own. */
const ports: Readonly<Record<string, number>> = {
  "rspp.registry.v1": 7_101,
  "rspp.lease.v1": 7_102,
  "rspp.state.v1": 7_102,
  "rspp.runtime.v1": 7_103,
  "rspp.provider.v1": 7_104,
  "rspp.replay.v1": 7_105,
};

export const pageOf = (packageName: string): string => `${packageName}.md`;

export function contractPage(pack: ContractPackage, contracts: Contracts, version: string): string {
  return [
    `# ${pack.name}`,
    "",
    version,
    "",
    ...pack.about.flatMap((about) => [about, ""]),
    ...pack.services.flatMap((service) => serviceSection(service, pack.name, contracts)),
    ...(pack.messages.length === 0 ? [] : ["## Messages", ""]),
    ...pack.messages.flatMap((message) => messageSection(message, pack.name, contracts)),
    ...(pack.enums.length === 0 ? [] : ["## Enums", ""]),
    ...pack.enums.flatMap((found) => enumSection(found)),
  ].join("\n");
}

function serviceSection({ name, about, methods }: ProtoService, pack: string, contracts: Contracts): string[] {
  const rows = methods.map((method) => [
    `\`${method.name}\``,
    `${method.clientStreams ? "stream of " : ""}${typeLink(method.input, pack, pack, contracts)}`,
    `${method.serverStreams ? "stream of " : ""}${typeLink(method.output, pack, pack, contracts)}`,
    method.role,
    cell(method.about),
  ]);
  const unary = methods.find((method) => !method.clientStreams && !method.serverStreams);
  const examples = methods
    .filter((method) => !method.clientStreams)
    .flatMap((method) => [
      `\`${method.name}\` asks, for example:`,
      "",
      ...code("json", JSON.stringify(sampleOf(resolveType(method.input, pack, contracts), contracts), null, 2)),
    ]);
  const curl =
    unary === undefined
      ? []
      : code(
          "sh",
          `buf curl --protocol grpc --http2-prior-knowledge \\\n  -d '${JSON.stringify(sampleOf(resolveType(unary.input, pack, contracts), contracts))}' \\\n  http://127.0.0.1:${ports[pack] ?? 7_101}/${pack}.${name}/${unary.name}`,
        );
  return [
    `## ${name}`,
    "",
    about,
    "",
    ...markdownTable(["call", "asks", "answers", "least role", "about"], rows),
    ...curl,
    ...examples,
  ];
}

function messageSection({ name, about, fields }: ProtoMessage, pack: string, contracts: Contracts): string[] {
  const rows = fields.map((field) => [
    `\`${field.name}\``,
    `${field.repeated ? "list of " : ""}${typeLink(field.type, `${pack}.${name}`, pack, contracts)}`,
    cell(
      limitsOf(field)
        .map((limit) => (/^pattern /.test(limit) ? `pattern \`${limit.slice(8)}\`` : limit))
        .join(", "),
    ),
    cell(`${field.about}${field.oneof === "" ? "" : ` (one of \`${field.oneof}\`)`}`),
  ]);
  return [`### ${name}`, "", about, "", ...markdownTable(["field", "type", "limits", "about"], rows)];
}

function enumSection({ name, about, values }: ProtoEnum): string[] {
  const rows = values.map((value) => [`\`${value.name}\``, String(value.number), cell(value.about)]);
  return [`### ${name}`, "", about, "", ...markdownTable(["value", "number", "about"], rows)];
}

/** A link to where the type is told, of another page too; a scalar stands as it is. */
function typeLink(type: string, within: string, page: string, contracts: Contracts): string {
  const inner = /^map<\s*([\w.]+)\s*,\s*([\w.]+)\s*>$/.exec(type);
  if (inner !== null) return `map of ${inner[1]} to ${typeLink(inner[2] ?? "", within, page, contracts)}`;
  const full = resolveType(type, within, contracts);
  if (!contracts.messages.has(full) && !contracts.enums.has(full)) return `\`${type}\``;
  const pack = [...contracts.packages.keys()].find((name) => full.startsWith(`${name}.`)) ?? "";
  const short = full.slice(pack.length + 1);
  return `[${short}](${pack === page ? "" : pageOf(pack)}#${anchor(short)})`;
}
