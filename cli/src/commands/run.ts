import { type Command, Option } from "commander";
import { type Done, dataOption, examples, jsonOption, nodesOption, sileroOption } from "../options.ts";

export function registerRun(cli: Command, done: Done): void {
  const command = cli
    .command("run")
    .summary("a pipeline on this machine: WAVs in, a WAV out")
    .description("run a pipeline on one machine: WAVs in, a WAV out")
    .argument("<spec>", "PipelineSpec, YAML or JSON")
    .requiredOption(
      "--wav <file...>",
      "what the caller says, one utterance a file; x.txt beside x.wav is its transcript",
    )
    .option("--out <file>", "WAV of what the caller heard", "reply.wav")
    .option("--fast", "as fast as possible under a virtual clock")
    .option("--var <name=value...>", "session variables; a value is JSON, or else a text")
    .option("--stt <provider>", "insist on one recogniser, e.g. sim/stt")
    .addOption(
      new Option("--record <level>", "recording level instead of the spec's: replay needs L1 or L2").choices([
        "L0",
        "L1",
        "L2",
      ]),
    )
    .addOption(nodesOption())
    .addOption(dataOption())
    .addOption(sileroOption())
    .addOption(jsonOption("end with one JSON object on stdout"))
    .action(async (spec, options) => {
      const { run } = await import("../run.ts");
      done(await run(spec, { fast: false, json: false, ...options }));
    });
  examples(
    command,
    ["rspp run agent.yaml --wav question.wav --out reply.wav", ""],
    ["rspp run agent.yaml --wav a.wav b.wav --record L2", "and then: rspp replay SESSION, rspp timeline SESSION"],
  );
}
