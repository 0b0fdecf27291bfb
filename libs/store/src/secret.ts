import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { inspect } from "node:util";
import { osCode, StoreError } from "./store-error.ts";

const hidden = "[secret]";
const fileBytesMax = 65_536;
const mountDefault = "/run/secrets/rspp";
/** One name, so that nothing beside the directory can be named. */
const mountName = /^[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}$/;

/** A value that no log, error, trace or JSON can hold by accident (NF-011). Only {@link Secret.reveal} gives it out. */
export class Secret {
  readonly #value: string;

  constructor(value: string) {
    this.#value = value;
  }

  /** For the call that needs it, never to be kept or printed. */
  reveal(): string {
    return this.#value;
  }

  toString(): string {
    return hidden;
  }

  toJSON(): string {
    return hidden;
  }

  [inspect.custom](): string {
    return hidden;
  }

  get [Symbol.toStringTag](): string {
    return "Secret";
  }
}

export interface SecretSource {
  /** Reads the present value, so that a rotated secret is met at the next use. */
  read(): Promise<Secret>;
  /** The reference itself, which may be printed. */
  readonly reference: string;
}

/**
 * A secret by reference: `env:NAME`, `file:/path`, or `mount:NAME`, a file of the directory RSPP_SECRETS_DIR (default
 * /run/secrets/rspp), as orchestrators mount them. The last line break of a file is cut off. A bare value is refused, so that
 * none stands in a configuration file.
 *
 * @throws StoreError `invalid` for another form; {@link SecretSource.read} rejects with `secret_missing`.
 */
export function secretSource(
  reference: string,
  env: Readonly<Record<string, string | undefined>> = process.env,
): SecretSource {
  const [, scheme, name = ""] = /^(env|file|mount):(.+)$/s.exec(reference) ?? [];
  if (scheme === "env") {
    return { reference, read: async () => present(reference, env[name]) };
  }
  if (scheme === "file") return { reference, read: async () => present(reference, await fileText(reference, name)) };
  if (scheme === "mount" && mountName.test(name)) {
    // The directory is asked for each time, and so is the file: what is mounted is swapped as a whole.
    const path = () => join(env.RSPP_SECRETS_DIR || mountDefault, name);
    return { reference, read: async () => present(reference, await fileText(reference, path())) };
  }
  // The reference is not repeated: it may be the secret itself.
  throw new StoreError(
    "invalid",
    "A secret is given by reference",
    "Write env:NAME or file:/path in its place, or mount:NAME",
  );
}

function present(reference: string, value: string | undefined): Secret {
  if (value === undefined || value === "") {
    throw new StoreError("secret_missing", `The secret ${reference} is not set or empty`, "Set it and try again");
  }
  return new Secret(value);
}

async function fileText(reference: string, path: string): Promise<string> {
  try {
    if ((await stat(path)).size > fileBytesMax) {
      throw new StoreError("invalid", `The secret ${reference} is larger than 64 KiB`, "Name the right file");
    }
    return (await readFile(path, "utf8")).replace(/\r?\n$/, "");
  } catch (error) {
    if (error instanceof StoreError) throw error;
    const what = osCode(error) || "unreadable";
    throw new StoreError("secret_missing", `The secret ${reference} cannot be read (${what})`, "Check path and rights");
  }
}

/** Whether a reference leads to a secret now; never the secret. */
export interface SecretStatus {
  readonly reference: string;
  readonly ok: boolean;
  /** What is wrong and what to do; empty when it resolves. */
  readonly problem: string;
}

/** What stands in place of a reference is not repeated: it may be a secret itself. Never rejects. */
export async function secretStatus(
  reference: string,
  env: Readonly<Record<string, string | undefined>> = process.env,
): Promise<SecretStatus> {
  try {
    await secretSource(reference, env).read();
    return { reference, ok: true, problem: "" };
  } catch (error) {
    if (!(error instanceof StoreError)) throw error;
    return { reference: error.code === "invalid" ? "(no reference)" : reference, ok: false, problem: error.message };
  }
}
