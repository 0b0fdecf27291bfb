/** `rspp run SPEC --wav FILE --out FILE`: one call on this machine over the loopback transport (F-125, F-130). */

import { writeReplyWav } from "@rspp/transport-loopback/recorder";
import { readWavSources } from "@rspp/transport-loopback/wav-source";
import { createAccount, latencyLine, originWords } from "./account.ts";
import { bindForCall } from "./bind.ts";
import { startCall } from "./call.ts";
import { EXIT_FAILED, EXIT_OK } from "./errors.ts";
import { loadPipeline } from "./pipeline.ts";
import { openPlatform } from "./platform.ts";
import { publish } from "./published.ts";

export interface RunOptions {
  wav: string[];
  out: string;
  json: boolean;
  fast: boolean;
  data: string;
  silero: "auto" | "off";
  record: "L0" | "L1" | "L2";
  stt?: string;
}

const WAIT_MS = 120_000;
/** Silence after the last word in which a turn may still open, milliseconds. */
const QUIET_MS = 4_000;

export async function run(spec: string, options: RunOptions): Promise<number> {
  const print = options.json ? (line: string) => console.error(line) : (line: string) => console.log(line);
  const pipeline = await loadPipeline(spec);
  const sources = await readWavSources(options.wav);
  await publish(options.data, pipeline);
  const platform = await openPlatform({ dataDir: options.data, fast: options.fast, silero: options.silero });
  try {
    const bound = bindForCall(pipeline.compiled, platform.gateway, {
      transcripts: sources.map((s) => s.transcript ?? ""),
      ...(options.stt ? { stt: options.stt } : {}),
    });
    for (const line of bound.told) print(line);
    const call = startCall(platform, bound.pipeline, {
      recording: options.record,
      onEvent: createAccount(print, platform.clock.nowNs()).event,
    });
    const settled = (): boolean => [...call.turns.values()].every((turn) => turn.settled);
    if (pipeline.compiled.greeting !== undefined) await platform.run(() => call.turns.size > 0 && settled(), WAIT_MS);
    for (const source of sources) {
      const before = call.turns.size;
      let spoken = false;
      call.adapter.speak(source.samples, { onSpoken: () => (spoken = true) });
      await platform.run(() => spoken, source.durationUs / 1_000 + WAIT_MS);
      await platform.run(() => call.turns.size > before, QUIET_MS);
      await platform.run(settled, WAIT_MS);
    }
    call.adapter.end("run_over");
    await platform.run(() => call.ended, WAIT_MS);
    const { agent, agentRateHz } = call.adapter.recording();
    await writeReplyWav(options.out, agent, agentRateHz);
    const turns = [...call.turns.values()];
    const ok = turns.length > 0 && turns.every((turn) => turn.terminal === "commit");
    if (options.fast) print("virtual clock (--fast): latencies are not measured");
    for (const turn of turns) {
      const latencies = options.fast ? "" : `; ${latencyLine(turn)}`;
      print(`turn ${turn.turn} (${originWords(turn.origin)}): ${turn.terminal}, delivery ${turn.delivery}${latencies}`);
    }
    print(
      `reply written to ${options.out}; session ${call.session.id} recorded at ${options.record} in ${options.data}`,
    );
    if (options.json)
      console.log(
        JSON.stringify({
          ok,
          session: call.session.id,
          recogniser: bound.recogniser,
          clock: options.fast ? "virtual" : "real",
          turns,
          reply: options.out,
        }),
      );
    return ok ? EXIT_OK : EXIT_FAILED;
  } finally {
    await platform.close();
  }
}
