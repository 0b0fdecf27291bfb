/** `rspp policy`: what is in force, and what it decides for a session (F-056, F-102). */
import { ArtifactService } from "@rspp/gen/rspp/registry/v1/artifact_service_pb";
import { ArtifactKind } from "@rspp/gen/rspp/registry/v1/registry_pb";
import { evaluatePolicy } from "@rspp/spec/policy/evaluate";
import { parsePolicy } from "@rspp/spec/policy/parse-policy";
import type { PolicyDocument, PolicyFacts, PolicyResult, PolicyRule, ProviderFact } from "@rspp/spec/policy/policy";
import type { PolicyKind } from "@rspp/spec/policy/policy-schema";
import { formatProblems } from "@rspp/spec/problem";
import type { PolicyOptions } from "../commands/policy.ts";
import { EXIT_OK, InputError, usageError } from "../errors.ts";
import { createPrinter, type Printer } from "../output/printer.ts";
import { paint } from "../output/style.ts";
import { facts, table } from "../output/table.ts";
import { timeWords } from "../output/words.ts";
import { connectTo, type Peer } from "../platform-client/connect.ts";
import { readSpecFile } from "../spec-file.ts";

type Registry = Peer<typeof ArtifactService>;
const kind = ArtifactKind.POLICY;
/** Of a tenant's policies this one counts; else the first by name. */
const defaultName = "default";
const versionsMax = 100;

export async function policy(action: string, name: string | undefined, options: PolicyOptions): Promise<number> {
  const printer = createPrinter(options.json ?? false);
  const registry = connectTo("registry", options.registry, ArtifactService, options);
  if (action === "list") return list(registry, options, printer);
  if (action === "show") return show(registry, name, options, printer);
  if (action === "try") return tryOut(registry, name, options, printer);
  throw usageError(`${action}: is nothing that can be done with a policy`, "name one of list, show, try");
}

async function inForce(registry: Registry, tenantId: string) {
  const { artifacts } = await registry.ask((client) => client.listActiveArtifacts({ tenantId, kinds: [kind] }));
  return artifacts.map(({ artifact, changedWallMs, changedBy, inherited }) => ({
    policy: artifact?.name ?? "",
    version: artifact?.version ?? 0,
    tenant: inherited ? "*" : tenantId,
    changed_wall_ms: Number(changedWallMs),
    changed_by: changedBy,
  }));
}

async function list(registry: Registry, { tenant }: PolicyOptions, printer: Printer): Promise<number> {
  const rows = await inForce(registry, tenant);
  printer.data({ policies: rows });
  if (rows.length === 0) {
    printer.line(`no policy is in force for ${tenant}: pipelines stand as they are`);
    return EXIT_OK;
  }
  const columns = ["POLICY", "FROM", "SINCE", "BY"].map((head) => ({ head }));
  const cells = rows.map((row) => [
    paint("bold", `${row.policy}@${row.version}`),
    row.tenant,
    timeWords(row.changed_wall_ms),
    row.changed_by,
  ]);
  printer.lines(table(columns, cells));
  return EXIT_OK;
}

interface Found {
  /** `default@3`, or the file. */
  readonly name: string;
  readonly document: PolicyDocument;
}

async function fromRegistry(registry: Registry, wanted: string | undefined, options: PolicyOptions) {
  const { tenant: tenantId, version = 0 } = options;
  const active = wanted === undefined ? await inForce(registry, tenantId) : [];
  const chosen = active.find((one) => one.policy === defaultName) ?? active[0];
  const name = wanted ?? chosen?.policy;
  if (name === undefined)
    throw new InputError(
      `no policy is in force for ${tenantId}\n   help: name a file, or publish one: rspp publish pipelines/policies/default.yaml`,
    );
  return registry.ask((client) =>
    client.getArtifact({ tenantId, kind, name, version: version || (chosen?.version ?? 0) }),
  );
}

function read(text: string, name: string): PolicyDocument {
  const parsed = parsePolicy(text, name);
  if (!parsed.ok) throw new InputError(formatProblems(parsed.error, text));
  return parsed.value;
}

async function show(
  registry: Registry,
  wanted: string | undefined,
  options: PolicyOptions,
  printer: Printer,
): Promise<number> {
  const found = await fromRegistry(registry, wanted, options);
  const { version: info, tenantId, source } = found;
  const name = `${info?.name}@${info?.version}`;
  const text = new TextDecoder().decode(source);
  const { rules, description = "" } = read(text, name);
  const { versions } = await registry.ask((client) =>
    client.listArtifacts({ tenantId, kind, name: info?.name ?? "", page: { size: versionsMax } }),
  );
  const told = versions.map(({ version, author, publishedWallMs, note, active }) => ({
    version,
    author,
    published_wall_ms: Number(publishedWallMs),
    note,
    active,
  }));
  printer.data({
    policy: info?.name,
    version: info?.version,
    tenant: tenantId,
    active: info?.active,
    rules,
    versions: told,
  });
  printer.lines(
    facts([
      ["policy", paint("bold", name)],
      ["of", tenantId],
      ["says", description],
    ]),
  );
  printer.line("");
  printer.lines(table([{ head: "RULE" }, { head: "WHEN" }, { head: "DECIDES" }], rules.map(ruleCells)));
  printer.line("");
  const columns = ["VERSION", "", "PUBLISHED", "BY", "NOTE"].map((head, i) => ({ head, right: i === 0 }));
  const rows = told.map((one) => [
    String(one.version),
    one.active ? paint("green", "in force") : "",
    timeWords(one.published_wall_ms),
    one.author,
    one.note,
  ]);
  printer.lines(table(columns, rows));
  return EXIT_OK;
}

function ruleCells({ id, when = "always", ...rule }: PolicyRule): string[] {
  return [paint("bold", id), when, decidesOf(rule).join("; ")];
}

function decidesOf(rule: Omit<PolicyRule, "id" | "when">): string[] {
  const { candidates = {}, order, caps, degrade, compliance = [], turn_detection: detection } = rule;
  const named = (one: string | { readonly name: string }): string => (typeof one === "string" ? one : one.name);
  return [
    ...Object.entries(candidates).map(([of, listed]) => `${of}: ${(listed ?? []).map(named).join(", ")}`),
    ...(order === undefined ? [] : [`by ${order}`]),
    ...(caps === undefined
      ? []
      : [
          `caps ${Object.entries(caps)
            .map((field) => field.join(" "))
            .join(", ")}`,
        ]),
    ...(degrade === undefined ? [] : [`degrade ${degrade}`]),
    ...compliance.map((node) => `inserts ${node.id}`),
    ...Object.keys(detection ?? {}).map((part) => `sets ${part}`),
  ];
}

async function tryOut(
  registry: Registry,
  wanted: string | undefined,
  options: PolicyOptions,
  printer: Printer,
): Promise<number> {
  const { name, document } = await foundOf(registry, wanted, options);
  const result = evaluatePolicy(document, factsOf(options));
  const { candidates, degrade, compliance, vad, endpointing, trace, reasons } = result;
  printer.data({
    policy: name,
    candidates,
    caps: capsOf(result),
    degrade,
    compliance,
    vad,
    endpointing,
    trace,
    reasons,
  });
  const rows = trace.map(({ rule, held, problem = "", decides }) => [
    paint("bold", rule),
    held ? paint("green", "holds") : paint("dim", problem === "" ? "does not hold" : "not known"),
    held ? decides.join(", ") : problem,
  ]);
  printer.lines(table([{ head: `RULE OF ${name}` }, { head: "" }, { head: "DECIDES" }], rows));
  printer.line("");
  printer.lines(facts(resultRows(result)));
  return EXIT_OK;
}

async function foundOf(registry: Registry, wanted: string | undefined, options: PolicyOptions): Promise<Found> {
  // What looks like a file is one: names of policies have neither point nor slash.
  if (wanted !== undefined && /[./]/.test(wanted)) {
    return { name: wanted, document: read((await readSpecFile(wanted)).source, wanted) };
  }
  const { version, source } = await fromRegistry(registry, wanted, options);
  const name = `${version?.name}@${version?.version}`;
  return { name, document: read(new TextDecoder().decode(source), name) };
}

/** As a policy writes them. */
function capsOf({ caps }: PolicyResult) {
  if (caps === null) return null;
  const { tokens, audioMs, ttsCharacters, costMicros, onExceeded } = caps;
  return {
    ...(tokens === undefined ? {} : { tokens }),
    ...(audioMs === undefined ? {} : { audio_seconds: audioMs / 1_000 }),
    ...(ttsCharacters === undefined ? {} : { tts_characters: ttsCharacters }),
    ...(costMicros === undefined ? {} : { cost_micros: costMicros }),
    on_exceeded: onExceeded,
  };
}

function resultRows(result: PolicyResult) {
  const { candidates, degrade, compliance, vad, endpointing, reasons } = result;
  const own = "as the pipeline says";
  const of = (part: PolicyKind): string => {
    const listed = candidates[part];
    return listed === undefined ? own : listed.map(({ provider }) => provider).join(", ");
  };
  const capped = Object.entries(capsOf(result) ?? {}).map((field) => field.join(" "));
  return [
    ["stt", of("stt")],
    ["llm", of("llm")],
    ["tts", of("tts")],
    ["caps", capped.length === 0 ? "none" : capped.join(", ")],
    ["degrade", degrade],
    ["inserts", compliance.map(({ id }) => id).join(", ")],
    ["vad", vad === null ? "" : JSON.stringify(vad)],
    ["endpointing", endpointing === null ? "" : JSON.stringify(endpointing)],
    ...reasons.map((reason, i) => [i === 0 ? "why" : " ", reason] as const),
  ] as const;
}

function factsOf(options: PolicyOptions): PolicyFacts {
  const { tenant, pipeline, language, region, costTier, unhealthy = [] } = options;
  const providers: Record<string, ProviderFact> = {};
  for (const [name, text] of pairs(options.price, "--price", "provider=price")) {
    const price = Number(text);
    if (!Number.isFinite(price) || price < 0) throw usageError(`--price ${name}=${text}: is no price`, "e.g. v/a=2.5");
    providers[name] = { priceMicros: Math.round(price * 1_000_000) };
  }
  for (const name of unhealthy) providers[name] = { ...providers[name], healthy: false };
  const vars = Object.fromEntries(
    pairs(options.var, "--var", "name=value").map(([name, text]) => [name, typed(text)] as const),
  );
  const said = { ...(language === "" ? {} : { language }), ...(costTier === "" ? {} : { cost_tier: costTier }) };
  return { tenant, pipeline, language, region, costTier, vars: { ...said, ...vars }, providers };
}

function pairs(words: readonly string[] | undefined, option: string, form: string): [string, string][] {
  return (words ?? []).map((word) => {
    const at = word.indexOf("=");
    if (at < 1) throw usageError(`${option} ${word}: is no ${form}`, `write it as ${form}`);
    return [word.slice(0, at), word.slice(at + 1)];
  });
}

function typed(text: string): string | number | boolean {
  if (text === "true" || text === "false") return text === "true";
  return text !== "" && Number.isFinite(Number(text)) ? Number(text) : text;
}
