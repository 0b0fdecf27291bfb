/** What a command says: words for people on stdout, or with --json one JSON object (JSON lines for streams). */

export interface Printer {
  readonly json: boolean;
  /** For people; with --json nothing. */
  line(text?: string): void;
  lines(texts: readonly string[]): void;
  /** Asides and progress, on stderr, so that they never mix with what is piped on. */
  note(text: string): void;
  /** With --json: the object, or one line of a stream. */
  data(value: unknown): void;
}

export function createPrinter(json: boolean): Printer {
  const line = (text = ""): void => {
    if (!json) process.stdout.write(`${text}\n`);
  };
  return {
    json,
    line,
    lines: (texts) => line(texts.join("\n")),
    note: (text) => void process.stderr.write(`${text}\n`),
    data: (value) => {
      if (json) process.stdout.write(`${JSON.stringify(value)}\n`);
    },
  };
}

/** Long work on a terminal: one line that is written over; elsewhere nothing. */
export interface Progress {
  tell(text: string): void;
  done(): void;
}

export function createProgress(): Progress {
  const { stderr } = process;
  if (!stderr.isTTY) return { tell: () => {}, done: () => {} };
  return {
    tell: (text) => void stderr.write(`\r\u001b[2K${text.slice(0, Math.max(20, stderr.columns - 1))}`),
    done: () => void stderr.write("\r\u001b[2K"),
  };
}
