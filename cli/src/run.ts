/** `rspp run SPEC --wav FILE --out FILE`: one call on this machine over the loopback transport (F-125, F-130). */

import { catalogueOf } from "@rspp/runtime/nodes/open-hosts";
import type { CompiledPipeline } from "@rspp/spec/compiled";
import { fillVariables, takeVariables } from "@rspp/spec/session-variables";
import { writeReplyWav } from "@rspp/transport-loopback/recorder";
import { readWavSources, type WavSource } from "@rspp/transport-loopback/wav-source";
import { createAccount, latencyLine, originWords } from "./account.ts";
import { variablesOf } from "./actions/route.ts";
import { type Bound, bindForCall } from "./bind.ts";
import { type Call, startCall } from "./call.ts";
import { EXIT_FAILED, EXIT_OK, InputError } from "./errors.ts";
import { openNodes } from "./node-packages.ts";
import { type LoadedPipeline, loadPipeline } from "./pipeline.ts";
import { openPlatform, type Platform } from "./platform.ts";
import { publish } from "./published.ts";

export interface RunOptions {
  wav: string[];
  out: string;
  json: boolean;
  fast: boolean;
  data: string;
  silero: "auto" | "off";
  /** Instead of the level of the spec. */
  record?: "L0" | "L1" | "L2";
  stt?: string;
  /** Session variables, `name=value`. */
  var?: string[];
  /** Folders of node packages. */
  nodes?: string[];
}

const WAIT_MS = 120_000;
/** Silence after the last word in which a turn may still open, milliseconds. */
const QUIET_MS = 4_000;

export async function run(spec: string, options: RunOptions): Promise<number> {
  const print = options.json ? (line: string) => console.error(line) : (line: string) => console.log(line);
  const nodes = await openNodes(options.nodes);
  const pipeline = await loadPipeline(spec, catalogueOf(nodes));
  const { filled, variables } = withVariables(pipeline.compiled, options.var ?? []);
  const sources = await readWavSources(options.wav);
  await publish(options.data, pipeline);
  const platform = await openPlatform({ dataDir: options.data, fast: options.fast, silero: options.silero, nodes });
  try {
    const bound = bindForCall(filled, platform.gateway, {
      transcripts: sources.map((s) => s.transcript ?? ""),
      ...(options.stt ? { stt: options.stt } : {}),
    });
    for (const line of bound.told) print(line);
    warnOfWordless(sources, bound);
    const call = startCall(platform, bound.pipeline, {
      variables,
      ...(options.record ? { recording: options.record } : {}),
      onEvent: createAccount(print, platform.clock.nowNs()).event,
    });
    if (pipeline.compiled.greeting !== undefined)
      await platform.run(() => call.turns.size > 0 && settled(call), WAIT_MS);
    const unheard: string[] = [];
    for (const source of sources) if (!(await speak(platform, call, source))) unheard.push(source.path);
    call.adapter.end("run_over");
    await platform.run(() => call.ended, WAIT_MS);
    const { agent, agentRateHz } = call.adapter.recording();
    await writeReplyWav(options.out, agent, agentRateHz);
    const turns = [...call.turns.values()];
    const ok = unheard.length === 0 && turns.length > 0 && turns.every((turn) => turn.terminal === "commit");
    if (options.fast) print("virtual clock (--fast): latencies are not measured");
    for (const turn of turns) {
      const latencies = options.fast ? "" : `; ${latencyLine(turn)}`;
      print(`turn ${turn.turn} (${originWords(turn.origin)}): ${turn.terminal}, delivery ${turn.delivery}${latencies}`);
    }
    for (const path of unheard)
      console.error(
        `${path} was not heard: no turn of the caller came of it\n   help: is it speech the recogniser (${bound.recogniser}) knows the words of? sim/stt needs them in ${sidecarOf(path)}`,
      );
    const recording = { level: options.record ?? pipeline.compiled.recording.ceiling, by: levelBy(pipeline, options) };
    print(`reply written to ${options.out}; session ${call.session.id} in ${options.data}`);
    print(`recorded at ${recording.level}: ${recording.by}`);
    if (options.json)
      console.log(
        JSON.stringify({
          ok,
          session: call.session.id,
          recogniser: bound.recogniser,
          clock: options.fast ? "virtual" : "real",
          recording,
          turns,
          unheard,
          reply: options.out,
        }),
      );
    return ok ? EXIT_OK : EXIT_FAILED;
  } finally {
    await platform.close();
  }
}

/** @throws InputError for a variable that is missing or of another type. */
function withVariables(compiled: CompiledPipeline, words: readonly string[]) {
  const given: Record<string, string | number | boolean> = {};
  for (const [name, value] of Object.entries(variablesOf(words))) {
    const scalar = typeof value === "string" || typeof value === "number" || typeof value === "boolean";
    given[name] = scalar ? value : JSON.stringify(value);
  }
  const taken = takeVariables(compiled, given, "relaxed");
  if (!taken.ok) throw new InputError(taken.error);
  return { filled: fillVariables(compiled, taken.value), variables: taken.value.values };
}

function settled(call: Call): boolean {
  return [...call.turns.values()].every((turn) => turn.settled);
}

/** @returns whether it was heard: a turn of the caller's came of it and has settled. */
async function speak(platform: Platform, call: Call, source: WavSource): Promise<boolean> {
  const before = new Set(call.turns.keys());
  const came = (): boolean => call.turns.size > before.size;
  let spoken = false;
  call.adapter.speak(source.samples, { onSpoken: () => (spoken = true) });
  await platform.run(() => spoken, source.durationUs / 1_000 + WAIT_MS);
  await platform.run(came, QUIET_MS);
  await platform.run(() => settled(call), WAIT_MS);
  return [...call.turns.values()].some((t) => !before.has(t.turn) && t.origin === "endpoint" && t.settled);
}

/** Who decided the recording level: a run may keep more than its spec says only when told to, and says so (F-153). */
function levelBy({ compiled }: LoadedPipeline, { record }: RunOptions): string {
  const own = compiled.recording.ceiling;
  const replay = own === "L0" ? "; replay needs --record L1 or L2" : "";
  if (record === undefined) return `the spec's recording.level${replay}`;
  if (record === own) return "as the spec's recording.level";
  return `${record > own ? "raised" : "lowered"} by --record from the spec's ${own}`;
}

function warnOfWordless(sources: readonly WavSource[], { recogniser }: Bound): void {
  if (recogniser !== "sim/stt") return;
  for (const { path, transcript } of sources)
    if (transcript === undefined)
      console.error(
        `warning: sim/stt knows no words for ${path}: there is no ${sidecarOf(path)}, so it will not be heard`,
      );
}

const sidecarOf = (path: string): string => path.replace(/(\.wav)?$/i, ".txt");
