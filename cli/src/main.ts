/** `rspp`, the command line. Exit statuses: 0 done, 1 ran and failed, 2 wrong usage or bad input. */

import { explainSpec } from "@rspp/spec/explain-spec";
import { WavSourceError } from "@rspp/transport-loopback/wav-source";
import { Command, InvalidArgumentError, Option } from "commander";
import { DATA_DEFAULT, demo } from "./demo.ts";
import { EXIT_INPUT, EXIT_OK, InputError } from "./errors.ts";
import { loadPipeline } from "./pipeline.ts";
import { replay, sessions } from "./recordings.ts";
import { run } from "./run.ts";

function port(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 0 || value > 65_535)
    throw new InvalidArgumentError("a port is a whole number of 0 to 65535");
  return value;
}

const data = (): Option =>
  new Option("--data <dir>", "recordings, published pipelines and lease incarnation").default(DATA_DEFAULT);
const silero = (): Option =>
  new Option("--silero <mode>", "neural voice activity detection where it is installed")
    .choices(["auto", "off"])
    .default("auto");
const json = (): Option => new Option("--json", "end with one JSON object on stdout");

function program(done: (status: number) => void): Command {
  const cli = new Command("rspp").description("Real-time Speech Pipeline Platform").exitOverride().showHelpAfterError();
  cli.addHelpText("after", "\nExit statuses: 0 done, 1 ran and failed, 2 wrong usage or bad input.");
  cli
    .command("demo")
    .description("greet, answer two recorded questions of which the second interrupts, replay both turns; then stay up")
    .option("--once", "stop after the demonstration")
    .option("--fast", "as fast as possible under a virtual clock instead of real time")
    .option("--out <file>", "WAV of what the caller heard", "reply.wav")
    .option("--port <port>", "loopback port for WAVs and microphones", port, 7080)
    .option("--stt <provider>", "insist on one recogniser, e.g. sim/stt")
    .addOption(data())
    .addOption(silero())
    .addOption(json())
    .action(async (options) => done(await demo({ once: false, fast: false, json: false, ...options })));
  cli
    .command("run")
    .description("run a pipeline on one machine: WAVs in, a WAV out")
    .argument("<spec>", "PipelineSpec, YAML or JSON")
    .requiredOption(
      "--wav <file...>",
      "what the caller says, one utterance a file; x.txt beside x.wav is its transcript",
    )
    .option("--out <file>", "WAV of what the caller heard", "reply.wav")
    .option("--fast", "as fast as possible under a virtual clock")
    .option("--stt <provider>", "insist on one recogniser, e.g. sim/stt")
    .addOption(
      new Option("--record <level>", "recording level instead of the spec's: replay needs L1 or L2").choices([
        "L0",
        "L1",
        "L2",
      ]),
    )
    .addOption(data())
    .addOption(silero())
    .addOption(json())
    .action(async (spec, options) => done(await run(spec, { fast: false, json: false, ...options })));
  cli
    .command("lint")
    .description("check a PipelineSpec; --explain shows each resolved value and its source")
    .argument("<spec>")
    .option("--explain", "print every resolved value with its source")
    .action(async (spec, options) => {
      const pipeline = await loadPipeline(spec);
      console.log(
        options.explain
          ? explainSpec(pipeline.compiled)
          : `${spec}: ok (${pipeline.compiled.name}@${pipeline.compiled.version}, ${pipeline.compiled.fingerprint.slice(0, 12)})`,
      );
      done(EXIT_OK);
    });
  cli
    .command("sessions")
    .description("list recorded sessions")
    .addOption(data())
    .addOption(json())
    .action((options) => done(sessions(options)));
  cli
    .command("replay")
    .description("re-execute a recorded session and compare")
    .argument("<session>")
    .addOption(data())
    .addOption(json())
    .action((session, options) => done(replay(session, options)));
  return cli;
}

async function main(): Promise<number> {
  let status = EXIT_OK;
  try {
    await program((s) => {
      status = s;
    }).parseAsync();
    return status;
  } catch (error) {
    if (error instanceof InputError || error instanceof WavSourceError) {
      console.error(error.message);
      return EXIT_INPUT;
    }
    if (error instanceof Error && "exitCode" in error && typeof error.exitCode === "number")
      return error.exitCode === 0 ? EXIT_OK : EXIT_INPUT;
    throw error;
  }
}

process.exitCode = await main();
