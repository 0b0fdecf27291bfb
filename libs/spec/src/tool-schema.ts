/** Fields of a language model's tools. Rules between them stand in `check-tools.ts`. */
import { TOOL_CALLS_PER_TURN_MAX, TOOL_RESULT_BYTES_MAX, TOOL_ROUNDS_MAX } from "@rspp/kernel/limits";
import * as limits from "./limits.ts";
import { type Field, list, map, may, must, oneOf, text, whole } from "./schema.ts";

const name = text(limits.ID_CHARS_MAX, {
  pattern: /^[a-z][a-z0-9_-]*$/,
  form: "lower-case letters, digits, _ and -, starting with a letter",
});
const url = text(1_024, {
  pattern: /^https?:\/\/[^\s/?#@]+(\/[^\s#]*)?$/,
  form: "an http or https address without user, password or fragment",
});
const reference = text(limits.LABEL_CHARS_MAX, {
  pattern: /^(env:[A-Z][A-Z0-9_]{0,127}|file:\/[\w./-]{1,250})$/,
  form: "a reference to a secret: env:NAME or file:/path",
});
const headers = may({ type: "open_map", max: 16, value: reference, what: "headers" });

const tool = map("a tool", {
  name: must(name),
  description: must(text(limits.DESCRIPTION_CHARS_MAX)),
  parameters: may({ type: "json", chars: limits.TOOL_SCHEMA_CHARS_MAX, what: "a JSON Schema" }),
  side_effect: must(oneOf("none", "idempotent", "side_effecting")),
  deadline_ms: may(whole(100, limits.TOOL_DEADLINE_MS_MAX)),
  filler: may(
    map("the filler of a tool", { text: must(text(limits.LABEL_CHARS_MAX)), after_ms: must(whole(0, 60_000)) }),
  ),
  http: may(
    map("the webhook of a tool", {
      url: must(url),
      method: may(oneOf("GET", "POST", "PUT", "PATCH", "DELETE")),
      headers,
    }),
  ),
  mcp: may(
    map("the MCP server of a tool", {
      url: may(url),
      command: may(text(limits.LABEL_CHARS_MAX)),
      tool: may(text(limits.ID_CHARS_MAX)),
      headers,
    }),
  ),
});

/** Fields of a node of kind `llm` besides those of every provider node. */
export const toolFields: Readonly<Record<string, Field>> = {
  tools: may(list("tools", tool, 1, limits.TOOLS_MAX)),
  tool_limits: may(
    map("the limits of tools", {
      per_turn_max: may(whole(1, TOOL_CALLS_PER_TURN_MAX)),
      rounds_max: may(whole(1, TOOL_ROUNDS_MAX)),
      parallel_max: may(whole(1, TOOL_CALLS_PER_TURN_MAX)),
      result_bytes_max: may(whole(16, TOOL_RESULT_BYTES_MAX)),
      late_result: may(oneOf("note", "propose")),
    }),
  ),
};
