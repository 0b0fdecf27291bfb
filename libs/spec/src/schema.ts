/** The small schema language the spec's fields are declared in; `walk.ts` checks a YAML tree against it. */

export interface StringSchema {
  type: "string";
  min: number;
  /** UTF-16 code units. */
  max: number;
  pattern?: RegExp;
  /** What the pattern asks for, in words. */
  form?: string;
  oneOf?: readonly string[];
  /** What the values of `oneOf` are called, e.g. `node kind`. */
  noun?: string;
  /** What stands there in a wrong form may be a secret: it is not repeated. */
  hidden?: true;
  /** A number is taken as its text: `version: 1`, `version: 1.10`. */
  numberAsText?: true;
}

export interface NumberSchema {
  type: "number";
  min: number;
  max: number;
  integer: boolean;
}

export interface BooleanSchema {
  type: "boolean";
}

export interface ListSchema {
  type: "list";
  item: Schema;
  min: number;
  max: number;
  /** What the items are called in an error. */
  items: string;
  /** One item may stand without the list around it. */
  single?: true;
}

export interface Field {
  schema: Schema;
  required?: true;
}

export interface MapSchema {
  type: "map";
  fields: Readonly<Record<string, Field>>;
  /** What it is called in an error: `a stt node`, `the policy`. */
  what: string;
}

/** A map whose keys the author chooses. */
export interface OpenMapSchema {
  type: "open_map";
  max: number;
  value: Schema;
  what: string;
  /** Of the keys; default lower-case letters, digits, _ and -, starting with a letter. */
  keys?: { pattern: RegExp; form: string };
  /** The values say what a name means and hold nothing: names that sound like secrets are fine. */
  declares?: true;
}

/** Text, number, truth value or a list of texts; secrets by reference only. */
export interface SettingSchema {
  type: "setting";
}

/** Any JSON value, at most so many characters of JSON. */
export interface JsonSchemaValue {
  type: "json";
  chars: number;
  what: string;
}

/** A short form (text) or a long form (map). */
export interface EitherSchema {
  type: "either";
  text: StringSchema;
  map: MapSchema;
  what: string;
}

/** A map whose fields follow from one of them: a node from its `kind`. */
export interface VariantSchema {
  type: "variant";
  tag: string;
  variants: Readonly<Record<string, MapSchema>>;
  /** Used where the tag is absent or wrong, so that the other fields are still read. */
  fallback: MapSchema;
}

export type Schema =
  | StringSchema
  | NumberSchema
  | BooleanSchema
  | ListSchema
  | MapSchema
  | OpenMapSchema
  | SettingSchema
  | JsonSchemaValue
  | EitherSchema
  | VariantSchema;

export const text = (max: number, more: Partial<StringSchema> = {}): StringSchema => ({
  type: "string",
  min: 1,
  max,
  ...more,
});
export const oneOf = (...values: readonly string[]): StringSchema => text(64, { oneOf: values });
export const whole = (min: number, max: number): NumberSchema => ({ type: "number", min, max, integer: true });
export const flag: BooleanSchema = { type: "boolean" };
export const list = (items: string, item: Schema, min: number, max: number): ListSchema => ({
  type: "list",
  item,
  min,
  max,
  items,
});
export const map = (what: string, fields: Readonly<Record<string, Field>>): MapSchema => ({
  type: "map",
  fields,
  what,
});
export const must = (schema: Schema): Field => ({ schema, required: true });
export const may = (schema: Schema): Field => ({ schema });
