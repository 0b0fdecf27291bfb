/** What a spec may say of failure and overload (F-048, F-131, F-132, F-135, F-137; F1 of `kernel.md` §14). */
import { ERROR_CLASSES } from "@rspp/kernel/error-taxonomy";
import * as limits from "./limits.ts";
import {
  type Field,
  flag,
  list,
  map,
  may,
  must,
  type OpenMapSchema,
  type StringSchema,
  text,
  whole,
} from "./schema.ts";

const sentence: StringSchema = text(limits.GREETING_CHARS_MAX);
const settings: OpenMapSchema = {
  type: "open_map",
  max: limits.SETTINGS_MAX,
  value: { type: "setting" },
  what: "settings",
};
const nodes: OpenMapSchema = { type: "open_map", max: limits.NODES_MAX, value: settings, what: "settings by node id" };

const errorFields = Object.fromEntries(["default", ...ERROR_CLASSES].map((name) => [name, may(sentence)]));

/** Top-level fields. */
export const resilienceFields: Readonly<Record<string, Field>> = {
  errors: may(map("the responses to errors", errorFields)),
  degrade: may(
    map("the degrade postures", {
      calm_ms: may(whole(0, 3_600_000)),
      text_only: may(flag),
      postures: may(
        list("postures", map("a posture", { id: must(text(limits.ID_CHARS_MAX)), nodes: must(nodes) }), 1, 8),
      ),
    }),
  ),
  breaker: may(map("the circuit breaker", { failures: must(whole(1, 100)), cool_ms: must(whole(100, 3_600_000)) })),
  dead_letters: may(map("the dead letters", { max: must(whole(1, 1_000)) })),
  admission: may(
    map("the local admission", {
      queued_max: may(whole(1, 100_000)),
      age_max_ms: may(whole(20, 60_000)),
      dispatch_max: may(whole(1, 64)),
    }),
  ),
};
