import { type ChildProcess, spawn } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";

const program = "pocketsphinx_continuous";
const model = "/usr/share/pocketsphinx/model/en-us/en-us/mdef";
const outputMax = 16 * 1024;

/**
 * The grammar and the audio both come through pipes, so that no file is left behind whatever dies. `cat` stands between
 * because the program opens its input by name, which a socket (what Node gives a child) does not allow.
 */
const script = [
  '{ printf %s "$RSPP_GRAMMAR" |',
  "{ exec 3<&0; exec 0<&4; exec 4<&-; cat |",
  'exec "$RSPP_PROGRAM" -infile /dev/stdin -jsgf /dev/fd/3 -logfn /dev/null',
  // An utterance is never split at a pause: where it ends was decided before.
  "-vad_postspeech 2000 -vad_startspeech 15; }; } 4<&0",
].join(" ");

export interface DecoderResult {
  /** Recognised words, lower case; empty when there were none. */
  text: string;
  problem?: "refused" | "killed" | "not_started";
}

export interface Decoder {
  write(bytes: Uint8Array): void;
  /** No more audio; `result` follows. */
  end(): void;
  /** Ends the process group at once; `result` follows with problem `killed`. Idempotent. */
  kill(): void;
  readonly alive: boolean;
  readonly result: Promise<DecoderResult>;
}

/** Where the program is, or undefined when it or its English model is not installed. */
export function findPocketsphinx(path = process.env.PATH ?? ""): string | undefined {
  try {
    accessSync(model, constants.R_OK);
  } catch {
    return undefined;
  }
  for (const folder of path.split(delimiter)) {
    if (folder === "") continue;
    const file = join(folder, program);
    try {
      accessSync(file, constants.X_OK);
      return file;
    } catch {
      // Not in this folder.
    }
  }
  return undefined;
}

/** Starts a process that decodes one utterance of 16 kHz mono s16le as it is written, with a JSGF grammar. */
export function startDecoder(file: string, grammar: string): Decoder {
  // Its own process group, so that the shell, `cat` and the program are ended together.
  const child = spawn("/bin/sh", ["-c", script], {
    detached: true,
    stdio: ["pipe", "pipe", "ignore"],
    env: { PATH: process.env.PATH ?? "", RSPP_GRAMMAR: grammar, RSPP_PROGRAM: file },
  });
  return new ProcessDecoder(child);
}

class ProcessDecoder implements Decoder {
  readonly result: Promise<DecoderResult>;
  readonly #child: ChildProcess;
  #alive = true;
  #killed = false;
  #output = "";

  constructor(child: ChildProcess) {
    this.#child = child;
    child.stdout?.setEncoding("utf8").on("data", (text: string) => {
      if (this.#output.length < outputMax) this.#output += text;
    });
    // A write after the program ended fails with EPIPE; its exit status says why it ended.
    child.stdin?.on("error", () => {});
    this.result = new Promise((resolve) => {
      child.on("error", () => {
        this.#alive = false;
        resolve({ text: "", problem: "not_started" });
      });
      child.on("close", (code) => {
        this.#alive = false;
        if (this.#killed) resolve({ text: "", problem: "killed" });
        else if (code !== 0) resolve({ text: "", problem: "refused" });
        else resolve({ text: cleanText(this.#output) });
      });
    });
    // A spare that waits for audio does not keep the process running; its end of input ends it.
    child.unref();
    for (const stream of [child.stdin, child.stdout]) (stream as unknown as { unref?: () => void } | null)?.unref?.();
  }

  get alive(): boolean {
    return this.#alive;
  }

  write(bytes: Uint8Array): void {
    if (this.#alive) this.#child.stdin?.write(bytes);
  }

  end(): void {
    this.#awaited();
    this.#child.stdin?.end();
  }

  kill(): void {
    if (!this.#alive || this.#killed) return;
    this.#killed = true;
    this.#awaited();
    try {
      if (this.#child.pid !== undefined) process.kill(-this.#child.pid, "SIGKILL");
    } catch {
      // It has just ended by itself.
    }
  }

  /** Its end is near and waited for: the process stays until then. */
  #awaited(): void {
    this.#child.ref();
    (this.#child.stdout as unknown as { ref?: () => void } | null)?.ref?.();
  }
}

function cleanText(output: string): string {
  const words = output.toLowerCase().split(/\s+/);
  return words.filter((word) => word !== "" && !word.startsWith("<")).join(" ");
}
