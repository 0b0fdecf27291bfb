import type { Command } from "commander";
import { type Done, dataOption, examples, jsonOption, sileroOption, whole } from "../options.ts";

/** Default options of `rspp demo` and `npm start`. */
export function registerDemo(cli: Command, done: Done): void {
  const command = cli
    .command("demo")
    .summary("hear it work: two spoken questions, one interruption, replay")
    .description("greet, answer two recorded questions of which the second interrupts, replay both turns; then stay up")
    .option("--once", "stop after the demonstration")
    .option("--fast", "as fast as possible under a virtual clock instead of real time")
    .option("--out <file>", "WAV of what the caller heard", "reply.wav")
    .option("--port <port>", "loopback port for WAVs and microphones; 0: a free one", whole(0, 65_535), 7_080)
    .option("--stt <provider>", "insist on one recogniser, e.g. sim/stt")
    .addOption(dataOption())
    .addOption(sileroOption())
    .addOption(jsonOption("end with one JSON object on stdout"))
    .action(async (options) => {
      const { demo } = await import("../demo.ts");
      done(await demo({ once: false, fast: false, json: false, ...options }));
    });
  examples(
    command,
    ["rspp demo --once", "no installation, no keys"],
    ["rspp demo --once --fast --json", "for scripts"],
  );
}
