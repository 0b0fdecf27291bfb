/** The microphone and loudspeaker of this machine, through the programs that are there: arecord and aplay, or sox. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { CommandError, EXIT_FAILED, EXIT_INPUT } from "../errors.ts";

interface Program {
  readonly command: string;
  readonly args: readonly string[];
}

const raw = ["-t", "raw", "-r", "16000", "-e", "signed-integer", "-b", "16", "-c", "1"];
const alsa = ["-q", "-f", "S16_LE", "-r", "16000", "-c", "1", "-t", "raw"];
const recorders: readonly Program[] = [
  { command: "arecord", args: alsa },
  { command: "sox", args: ["-q", "-d", ...raw, "-"] },
];
/** With a short buffer: what is in it when a reply is cut is still heard. */
const players: readonly Program[] = [
  { command: "aplay", args: [...alsa, "-B", "80000"] },
  { command: "sox", args: ["-q", ...raw, "-", "-d"] },
];

function found(programs: readonly Program[]): Program | null {
  return (
    programs.find(({ command }) => spawnSync(command, ["--version"], { stdio: "ignore" }).error === undefined) ?? null
  );
}

export interface RealMicrophone {
  readonly program: string;
  /** Settles when the device has ended by itself. @throws CommandError (as a rejection) with what the device said. */
  readonly ended: Promise<never>;
  close(): void;
}

/** @throws CommandError when there is no program that records. */
export function recorderHere(): Program {
  const program = found(recorders);
  if (program !== null) return program;
  throw new CommandError({
    status: EXIT_INPUT,
    reason: "no_microphone",
    what: "--mic: neither arecord nor sox is installed here",
    remedy: "`apt-get install alsa-utils` or `apt-get install sox`; or speak from a file with --wav FILE",
  });
}

/** @throws CommandError when there is no program that records. */
export function openRealMicrophone(onSamples: (samples: Int16Array) => void): RealMicrophone {
  const program = recorderHere();
  const child = spawn(program.command, program.args, { stdio: ["ignore", "pipe", "pipe"] });
  let said = "";
  child.stderr.on("data", (chunk: Buffer) => {
    said = `${said}${chunk}`.slice(-500);
  });
  readFrames(child, onSamples);
  let closing = false;
  const ended = new Promise<never>((_, reject) => {
    child.once("close", (status) => {
      if (closing) return;
      reject(microphoneFailed(program.command, said.trim().split("\n").at(-1) || `it ended with status ${status}`));
    });
    child.once("error", (error) => reject(microphoneFailed(program.command, error.message)));
  });
  // Whoever waits for it hears of it; nobody waiting is no defect.
  ended.catch(() => {});
  return {
    program: program.command,
    ended,
    close: () => {
      closing = true;
      child.kill("SIGTERM");
    },
  };
}

function microphoneFailed(program: string, what: string): CommandError {
  return new CommandError({
    status: EXIT_FAILED,
    reason: "microphone_failed",
    what: `--mic: ${program} cannot record: ${what}`,
    remedy: "check that a microphone is there (`arecord -l`) and free; or speak from a file with --wav FILE",
  });
}

const frameBytes = 640;

function readFrames(child: ChildProcess, onSamples: (samples: Int16Array) => void): void {
  let rest: Buffer = Buffer.alloc(0);
  child.stdout?.on("data", (chunk: Buffer) => {
    const bytes = Buffer.concat([rest, chunk]);
    const whole = bytes.length - (bytes.length % frameBytes);
    for (let at = 0; at < whole; at += frameBytes)
      onSamples(new Int16Array(new Uint8Array(bytes.subarray(at, at + frameBytes)).buffer));
    rest = bytes.subarray(whole);
  });
}

export interface RealLoudspeaker {
  readonly program: string;
  play(samples: Int16Array): void;
  close(): void;
}

/** Null where no program plays. */
export function openRealLoudspeaker(): RealLoudspeaker | null {
  const program = found(players);
  if (program === null) return null;
  const child = spawn(program.command, program.args, { stdio: ["pipe", "ignore", "ignore"] });
  let alive = true;
  child.on("error", () => {
    alive = false;
  });
  child.on("close", () => {
    alive = false;
  });
  child.stdin.on("error", () => {});
  return {
    program: program.command,
    play: (samples) => {
      // A device that does not keep up loses sound, never the call.
      if (alive && child.stdin.writableLength < 64_000)
        child.stdin.write(Buffer.from(samples.buffer, samples.byteOffset, samples.byteLength));
    },
    close: () => {
      child.stdin.end();
      if (alive) child.kill("SIGTERM");
    },
  };
}
