/** Declarations of session variables and of the parameters of a module (F-019). */
import * as limits from "./limits.ts";
import {
  type Field,
  flag,
  list,
  type MapSchema,
  map,
  may,
  must,
  type OpenMapSchema,
  oneOf,
  text,
  whole,
} from "./schema.ts";

/** Names that `{{name}}`, `${name}` and conditions can say; no hyphen, which would be a minus there. */
export const variableNames = {
  pattern: /^(?!constructor$)[a-z][a-z0-9_]{0,63}$/,
  form: "lower-case letters, digits and _, starting with a letter",
};

export const VARIABLE_TYPES = ["string", "number", "boolean", "enum"] as const;

const anyNumber = { type: "number", min: -1e15, max: 1e15, integer: false } as const;
const typeField = must(oneOf(...VARIABLE_TYPES));

const own: Readonly<Record<(typeof VARIABLE_TYPES)[number], Readonly<Record<string, Field>>>> = {
  string: {
    default: may({ type: "string", min: 0, max: limits.VARIABLE_CHARS_MAX }),
    pattern: may(text(limits.PATTERN_CHARS_MAX)),
    min_chars: may(whole(0, limits.VARIABLE_CHARS_MAX)),
    max_chars: may(whole(1, limits.VARIABLE_CHARS_MAX)),
  },
  number: { default: may(anyNumber), min: may(anyNumber), max: may(anyNumber), whole: may(flag) },
  boolean: { default: may(flag) },
  enum: {
    values: must(list("values", text(limits.LABEL_CHARS_MAX), 1, limits.VARIABLE_VALUES_MAX)),
    default: may(text(limits.LABEL_CHARS_MAX)),
  },
};

function declaration(what: string, more: Readonly<Record<string, Field>>): OpenMapSchema["value"] {
  const shared = {
    type: typeField,
    description: may(text(limits.DESCRIPTION_CHARS_MAX)),
    required: may(flag),
    ...more,
  };
  const of = (type: (typeof VARIABLE_TYPES)[number]): MapSchema =>
    map(`${what} of type ${type}`, { ...shared, ...own[type] });
  return {
    type: "variant",
    tag: "type",
    variants: Object.fromEntries(VARIABLE_TYPES.map((type) => [type, of(type)])),
    fallback: map(what, {
      ...shared,
      ...own.enum,
      ...own.string,
      ...own.number,
      values: may(list("values", text(limits.LABEL_CHARS_MAX), 1, limits.VARIABLE_VALUES_MAX)),
      default: may({ type: "setting" }),
    }),
  };
}

export const variablesSchema: OpenMapSchema = {
  type: "open_map",
  max: limits.VARIABLES_MAX,
  value: declaration("a session variable", { sensitivity: may(oneOf("public", "personal", "secret")) }),
  what: "session variables",
  keys: variableNames,
  declares: true,
};

export const parametersSchema: OpenMapSchema = {
  type: "open_map",
  max: limits.MODULE_PARAMETERS_MAX,
  value: declaration("a parameter", {}),
  what: "parameters",
  keys: variableNames,
  declares: true,
};
