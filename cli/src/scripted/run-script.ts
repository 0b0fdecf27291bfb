/** One test script from its file to its checks. */
import { readFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import type { ProviderCandidate } from "@rspp/kernel/graph";
import type { NodeHostPort } from "@rspp/ports/node-host";
import type { CompiledPipeline } from "@rspp/spec/compiled";
import type { SpecOptions } from "@rspp/spec/node-catalogue";
import { formatProblems } from "@rspp/spec/problem";
import { fillVariables, takeVariables } from "@rspp/spec/session-variables";
import { checkAgainstPipeline } from "@rspp/spec/test-script/against-pipeline";
import { parseTestScript, type TestScript } from "@rspp/spec/test-script/script";
import { InputError } from "../errors.ts";
import { checkFile, readLayers, readSpecFile, type SpecFile } from "../spec-file.ts";
import { prepareSpeech } from "./caller-speech.ts";
import { type Check, checkCall } from "./expectations.ts";
import { type CallFacts, factsOf } from "./facts.ts";
import { dial, type Line } from "./line.ts";
import { playSteps } from "./play.ts";
import { withScriptedTools } from "./scripted-tools.ts";
import { openStage, type Stage } from "./stage.ts";

export interface LoadedScript {
  readonly path: string;
  readonly source: string;
  readonly script: TestScript;
  /** Variables filled in, providers and tools as the script has them. */
  readonly pipeline: CompiledPipeline;
  readonly variables: Readonly<Record<string, string | number | boolean>>;
}

export interface ScriptReport {
  readonly path: string;
  readonly pipeline: string;
  readonly time: "virtual" | "real";
  readonly ok: boolean;
  readonly checks: readonly Check[];
  /** Names of the steps, for people. */
  readonly steps: readonly string[];
  readonly facts: CallFacts;
  /** Of the call, by its own clock, and of the run, by the machine's; milliseconds. */
  readonly callMs: number;
  readonly tookMs: number;
}

export interface LoadOptions extends SpecOptions {
  /** Where published pipelines of this machine are. */
  readonly data: string;
  /** In the place of the script's own. */
  readonly time?: "virtual" | "real";
}

/** @throws InputError with every problem of the script, then of its pipeline. */
export async function loadScript(path: string, options: LoadOptions): Promise<LoadedScript> {
  const { source } = await readSpecFile(path);
  return readScript(path, source, options);
}

/** As {@link loadScript}, of a text that is there already. */
export async function readScript(path: string, source: string, options: LoadOptions): Promise<LoadedScript> {
  const read = parseTestScript(source, path);
  if (!read.ok) throw new InputError(formatProblems(read.error, source));
  const script = options.time === undefined ? read.value : { ...read.value, time: options.time };
  const compiled = await pipelineOf(script, path, options);
  const problems = checkAgainstPipeline(script, compiled, path);
  if (problems.length > 0) throw new InputError(formatProblems(problems, source));
  const taken = takeVariables(compiled, script.variables ?? {}, "strict");
  if (!taken.ok) throw new InputError(`${path}: ${taken.error}`);
  const filled = fillVariables(compiled, taken.value);
  const pipeline = withScriptedTools(withProviders(filled, script), script.tools ?? {});
  return { path, source, script, pipeline, variables: taken.value.values };
}

const published = /^[a-z][a-z0-9-]*@[^/\\]+$/;

async function pipelineOf(script: TestScript, path: string, options: LoadOptions): Promise<CompiledPipeline> {
  const folder = dirname(path);
  const named = published.test(script.pipeline) && !/\.(ya?ml|json)$/.test(script.pipeline);
  const file = named
    ? await publishedFile(script.pipeline, path, options.data)
    : await readSpecFile(resolve(folder, script.pipeline));
  const layers = await readLayers((script.layers ?? []).map((layer) => resolve(folder, layer)));
  const checked = checkFile(file, layers, options);
  if (!checked.ok) throw new InputError(formatProblems(checked.problems, file.source));
  return checked.compiled;
}

/** As `rspp run` keeps it. */
async function publishedFile(name: string, path: string, data: string): Promise<SpecFile> {
  const file = join(data, "pipelines", `${name}.json`);
  try {
    const { source } = JSON.parse(await readFile(file, "utf8")) as { source: string };
    return { path: file, source, format: "yaml" };
  } catch {
    throw new InputError(
      `${path}: pipeline: ${name} is not published on this machine\n   help: run it once with \`rspp run\`, name its folder with --data, or name its file`,
    );
  }
}

/** Ears and voice are simulated unless the script says otherwise; the other nodes are the pipeline's own. */
function withProviders(pipeline: CompiledPipeline, { providers = {} }: TestScript): CompiledPipeline {
  const nodes = pipeline.graph.nodes.map((node) => {
    const given = providers[node.id];
    if (given !== undefined) {
      const { name, settings = {} } = typeof given === "string" ? { name: given } : given;
      const own = node.candidates.find(({ provider }) => provider === name)?.settings ?? {};
      return { ...node, candidates: [{ provider: name, settings: { ...own, ...settings } }] };
    }
    const simulated: ProviderCandidate[] = [{ provider: `sim/${node.kind}`, settings: {} }];
    return node.kind === "stt" || node.kind === "tts" ? { ...node, candidates: simulated } : node;
  });
  return { ...pipeline, graph: { ...pipeline.graph, nodes } };
}

function withTranscripts(pipeline: CompiledPipeline, transcripts: readonly string[]): CompiledPipeline {
  const nodes = pipeline.graph.nodes.map((node) => ({
    ...node,
    candidates: node.candidates.map((candidate) =>
      candidate.provider === "sim/stt" ? { ...candidate, settings: { ...candidate.settings, transcripts } } : candidate,
    ),
  }));
  return { ...pipeline, graph: { ...pipeline.graph, nodes } };
}

/** The call must end once it is asked to, milliseconds. */
const END_MS = 60_000;

export interface RunOptions {
  /** Where custom nodes run; not closed. */
  readonly nodes?: NodeHostPort | null;
  /** Before each step. */
  readonly onStep?: (index: number) => void;
  /** When the call is over and all of it is recorded. */
  readonly onEnd?: (stage: Stage, line: Line) => void;
}

/** Plays it, and checks what came of it. */
export async function runScript(
  { path, script, pipeline, variables }: LoadedScript,
  { nodes = null, onStep = () => {}, onEnd = () => {} }: RunOptions = {},
): Promise<ScriptReport> {
  const startMs = performance.now();
  const time = script.time ?? "virtual";
  const { utterances, tones } = await prepareSpeech(script, dirname(path), pipeline);
  const stage = await openStage({ time, tones, tools: script.tools ?? {}, nodes });
  try {
    const available = stage.gateway.providers();
    refuseUnknown(path, pipeline, available);
    const transcripts = utterances.flatMap((one) => (one === null ? [] : [one.transcript]));
    const originNs = stage.clock.nowNs();
    const seed = script.seed ?? `${pipeline.name}@${pipeline.version}`;
    const bound = withTranscripts(pipeline, transcripts);
    const line = dial(stage, { pipeline: bound, sessionId: `test-${pipeline.name}`, seed, variables });
    const greets = pipeline.greeting !== undefined;
    const played = await playSteps({ stage, line, script, utterances, greets, onStep });
    if (line.ended() === "") line.hangUp();
    const ended = await stage.until(() => line.ended() !== "", END_MS);
    if (!ended) throw new Error(`${path}: the session did not end within ${END_MS} ms`);
    const facts = await factsOf(stage, line);
    onEnd(stage, line);
    const checks = checkCall(script, played, facts);
    return {
      path,
      pipeline: `${pipeline.name}@${pipeline.version}`,
      time,
      ok: checks.every(({ ok }) => ok),
      checks,
      steps: script.steps.map((_, i) => stepTitle(script, i)),
      facts,
      callMs: Math.round((stage.clock.nowNs() - originNs) / 1e6),
      tookMs: Math.round(performance.now() - startMs),
    };
  } finally {
    await stage.close();
  }
}

function refuseUnknown(path: string, pipeline: CompiledPipeline, available: readonly string[]): void {
  for (const { id, candidates } of pipeline.graph.nodes) {
    if (candidates.length === 0 || candidates.some(({ provider }) => available.includes(provider))) continue;
    const names = candidates.map(({ provider }) => provider).join(", ");
    throw new InputError(
      `${path}: node ${id}: ${names} cannot serve here\n   help: name one that can under providers.${id}: ${available.join(", ")}`,
    );
  }
}

const TITLE_CHARS_MAX = 40;

export function stepTitle({ steps }: TestScript, index: number): string {
  const step = steps[index];
  const { say, audio, barge_in, dtmf, silence_ms, push_to_talk, network, hang_up } = step ?? {};
  const speech = (one: { say?: string; audio?: { wav: string } }): string =>
    one.say === undefined ? (one.audio?.wav ?? "") : `"${one.say}"`;
  const title = (): string => {
    if (say !== undefined || audio !== undefined) return `say ${speech(step ?? {})}`;
    if (barge_in?.dtmf !== undefined) return `barge in with ${barge_in.dtmf}`;
    if (barge_in?.hang_up === true) return "hang up meanwhile";
    if (barge_in !== undefined) return `barge in ${speech(barge_in)}`;
    if (dtmf !== undefined) return `key in ${dtmf}`;
    if (silence_ms !== undefined) return `silence of ${silence_ms} ms`;
    if (push_to_talk !== undefined) return `push to talk ${speech(push_to_talk)}`;
    if (network !== undefined) return `network ${JSON.stringify(network).replace(/["{}]/g, "")}`;
    return hang_up === true ? "hang up" : "the agent speaks";
  };
  const text = title();
  return text.length > TITLE_CHARS_MAX ? `${text.slice(0, TITLE_CHARS_MAX - 1)}…` : text;
}
