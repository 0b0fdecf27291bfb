/** `rspp gate` and `rspp release`: what a release must pass, and the proof that it did. */
import { type Command, Option } from "commander";
import { type Done, dataOption, examples, gathered, jsonOption, whole } from "../options.ts";

export const ARTIFACTS_DEFAULT = ".data/gates";

export interface GateOptions {
  readonly artifacts: string;
  readonly data: string;
  readonly recordings?: readonly string[];
  readonly only?: readonly string[];
  readonly seeds: number;
  readonly json?: boolean;
}

export interface ReleaseOptions {
  readonly artifacts: string;
  readonly version?: string;
  readonly json?: boolean;
}

export function registerGate(cli: Command, done: Done): void {
  const command = cli
    .command("gate")
    .summary("judge this build: safety, replay, security, release")
    .description(
      "judge this build by recordings, or by simulated calls where none are named, and leave an artefact of every gate; " +
        "a missing or impossible anchor fails its gate, and so do too few samples",
    )
    .argument("<level>", "quick, full, security, release")
    .addOption(
      new Option("--recordings <place...>", "data folders with recordings, or session ids of --data").argParser(
        gathered,
      ),
    )
    .addOption(new Option("--only <gate...>", "these gates of the level alone").argParser(gathered))
    .addOption(
      new Option("--seeds <n>", "seeds of the simulator, in full and release")
        .default(100)
        .argParser(whole(1, 100_000)),
    )
    .option("--artifacts <dir>", "where artefacts go", ARTIFACTS_DEFAULT)
    .addOption(dataOption("recordings of the sessions named"))
    .addOption(jsonOption())
    .action(async (level: string, options: GateOptions) =>
      done(await (await import("../actions/gate.ts")).gate(level, options)),
    );
  examples(
    command,
    ["rspp gate quick", "status 0 passed, 1 failed"],
    ["rspp gate quick --recordings .data", "over what was recorded on this machine"],
    ["rspp gate release --artifacts out/gates", ""],
  );
}

export function registerRelease(cli: Command, done: Done): void {
  const command = cli
    .command("release")
    .summary("a manifest, where every gate has passed")
    .description(
      "write the manifest of a release: refused without an artefact of every gate of `rspp gate release` that passed " +
        "within 24 hours, of this very build and over unaltered inputs",
    )
    .option("--version <x>", "version of the release, e.g. 1.4.0; needed")
    .option("--artifacts <dir>", "where the artefacts are", ARTIFACTS_DEFAULT)
    .addOption(jsonOption())
    .action(async (options: ReleaseOptions) => done(await (await import("../actions/release.ts")).release(options)));
  examples(command, ["rspp release --version 1.4.0 --artifacts out/gates", "status 0 written, 1 refused"]);
}
