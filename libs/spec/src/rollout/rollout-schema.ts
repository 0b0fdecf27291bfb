/** Every field of a rollout (F-093): which sessions get which version of one pipeline. */
import * as limits from "../limits.ts";
import { map, may, must, type NumberSchema, type OpenMapSchema, oneOf, text, whole } from "../schema.ts";
import { description, specName } from "../spec-schema.ts";

/** The first line of every rollout. */
export const ROLLOUT_SCHEMA = "rspp/rollout/v1";

const version = whole(1, 2_147_483_647);
const percent: NumberSchema = { type: "number", min: 0, max: 100, integer: false };

/** Ids of tenants, as the contracts have them. */
export const tenantNames = {
  pattern: /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/,
  form: "letters, digits, ., _ and -",
};
const tenants: OpenMapSchema = {
  type: "open_map",
  max: limits.ROLLOUT_TENANTS_MAX,
  value: version,
  what: "tenants",
  keys: tenantNames,
};

export const rolloutSchema = map("a rollout", {
  schema: must(oneOf(ROLLOUT_SCHEMA)),
  /** The pipeline it decides for; there is one rollout of a pipeline. */
  rollout: must(specName),
  description: may(description),
  /** Of whom nothing else is said. */
  stable: must(version),
  canary: may(map("the canary", { version: must(version), percent: must(percent) })),
  tenants: may(tenants),
  sticky_by: may(
    text(80, {
      pattern: /^(session|variable [a-z][a-z0-9_]*)$/,
      form: "session, or variable and the name of a session variable",
    }),
  ),
  /** Another one draws the buckets anew. */
  salt: may(text(64)),
});
