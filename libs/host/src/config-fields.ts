import { resolve } from "node:path";
import { err, ok, type Result } from "@rspp/base/result";

interface About {
  /** For `--help`. */
  readonly about: string;
}

/** One key of a service's configuration; its kind says what may stand there. */
export type ConfigField =
  | (About & { readonly kind: "text"; readonly fallback: string; readonly charsMax: number })
  | (About & { readonly kind: "path"; readonly fallback: string })
  | (About & { readonly kind: "whole"; readonly fallback: number; readonly min: number; readonly max: number })
  | (About & { readonly kind: "choice"; readonly fallback: string; readonly of: readonly string[] })
  /** By reference alone, `env:NAME`, `file:/path` or `mount:NAME`, so that no secret stands in a file or in a list of processes. */
  | (About & { readonly kind: "secret"; readonly fallback: "" });

export type ConfigFields = Readonly<Record<string, ConfigField>>;

export type ConfigValues<F extends ConfigFields> = {
  readonly [K in keyof F]: F[K] extends { kind: "whole" } ? number : string;
};

export interface FieldRefusal {
  readonly message: string;
  readonly remedy: string;
}

/** What stands in file, environment or flags, as the field wants it. The value itself is never repeated: it may be a secret. */
export function readField(field: ConfigField, found: unknown): Result<string | number, FieldRefusal> {
  if (field.kind === "whole") return readWhole(field.min, field.max, found);
  if (typeof found !== "string") return err({ message: "is no text", remedy: "Put the value in quotes" });
  switch (field.kind) {
    case "choice":
      if (field.of.includes(found)) return ok(found);
      return err({ message: "is none of the words allowed", remedy: `Use one of ${field.of.join(", ")}` });
    case "secret":
      if (found === "" || /^(?:env|file|mount):./s.test(found)) return ok(found);
      return err({
        message: "is a secret and stands here itself",
        remedy: "Give a reference in its place: env:NAME or file:/path, or mount:NAME",
      });
    case "path":
      if (found !== "") return ok(resolve(found));
      return err({ message: "is empty", remedy: "Name a path, or leave the key out" });
    case "text":
      if (found.length <= field.charsMax) return ok(found);
      return err({ message: "is too long", remedy: `Use at most ${field.charsMax} characters` });
  }
}

function readWhole(min: number, max: number, found: unknown): Result<number, FieldRefusal> {
  const text = typeof found === "string" && /^\d{1,15}$/.test(found) ? Number(found) : found;
  if (typeof text === "number" && Number.isInteger(text) && text >= min && text <= max) return ok(text);
  return err({
    message: `is no whole number from ${min} to ${max}`,
    remedy: `Set it to a number between ${min} and ${max}`,
  });
}

/** The key that was probably meant: one letter more, less or other, or two neighbours swapped. */
export function nearestKey(name: string, keys: readonly string[]): string | undefined {
  return keys.find((key) => key.startsWith(name) || name.startsWith(key) || differByOne(name, key));
}

function differByOne(a: string, b: string): boolean {
  if (Math.abs(a.length - b.length) > 1) return false;
  let start = 0;
  while (start < a.length && a[start] === b[start]) start++;
  const restA = a.slice(start);
  const restB = b.slice(start);
  const swapped = `${restA[1] ?? ""}${restA[0] ?? ""}${restA.slice(2)}`;
  return restA.slice(1) === restB || restA === restB.slice(1) || restA.slice(1) === restB.slice(1) || swapped === restB;
}
