/** Arguments against the JSON Schema of their tool, before anything is called. */
import type { JsonSchemaValidator } from "@modelcontextprotocol/sdk/validation";

export type Checked =
  | { readonly ok: true; readonly value: Readonly<Record<string, unknown>> }
  /** For the model: which field and what is wanted, never the value that stands there. */
  | { readonly ok: false; readonly problem: string };

const SCHEMAS_MAX = 256;
const PROBLEM_CHARS_MAX = 300;

type Validator = JsonSchemaValidator<unknown>;

/** Compiles each schema once; the oldest is forgotten. */
export class ArgumentsCheck {
  readonly #validators = new Map<string, Validator>();

  /** @throws Error where the schema is none. */
  async check(schema: string, json: string): Promise<Checked> {
    const value = objectOf(json);
    if (value === undefined) return { ok: false, problem: "the arguments are no JSON object" };
    const validator = this.#validators.get(schema) ?? (await this.#compile(schema));
    const found = validator(value);
    if (found.valid) return { ok: true, value };
    return {
      ok: false,
      problem: `the arguments do not fit: ${(found.errorMessage ?? "").slice(0, PROBLEM_CHARS_MAX)}`,
    };
  }

  async #compile(schema: string): Promise<Validator> {
    const { AjvJsonSchemaValidator } = await import("@modelcontextprotocol/sdk/validation/ajv");
    // One each: schemas of different tenants may bear one `$id`.
    const validator = new AjvJsonSchemaValidator().getValidator(JSON.parse(schema));
    const [oldest] = this.#validators.keys();
    if (this.#validators.size >= SCHEMAS_MAX && oldest !== undefined) this.#validators.delete(oldest);
    this.#validators.set(schema, validator);
    return validator;
  }
}

function objectOf(json: string): Readonly<Record<string, unknown>> | undefined {
  try {
    // A model that has no arguments to give may write nothing.
    const value: unknown = JSON.parse(json.trim() === "" ? "{}" : json);
    const plain = typeof value === "object" && value !== null && !Array.isArray(value);
    return plain ? (value as Readonly<Record<string, unknown>>) : undefined;
  } catch {
    return undefined;
  }
}
