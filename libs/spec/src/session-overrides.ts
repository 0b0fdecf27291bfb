/**
 * What a session may set for itself when it opens (F-080): session variables, and under the name `set.<path>` a few settings
 * that change nothing for anybody else, e.g. `set.policy.barge_in` or `set.nodes.tts.provider.settings.voice`.
 */
import { err, ok, type Result } from "@rspp/base/result";
import type { SettingValue } from "@rspp/kernel/graph";
import { type Overrides, parseOverrides } from "./overrides.ts";
import { OVERRIDES_SCHEMA } from "./overrides-schema.ts";
import { SET_PREFIX } from "./session-set.ts";

/** Settings of a node that shape how a call sounds and listens, not what it may do. */
const providerSettings = "language|voice|speed|temperature";
const allowed: readonly RegExp[] = [
  /^policy\.(barge_in|hold_on_candidate)$/,
  /^conversation\.greeting$/,
  /^recording\.level$/,
  /^nodes\.[a-z][a-z0-9_-]*\.settings\.[a-z][a-z0-9_]*$/,
  new RegExp(`^nodes\\.[a-z][a-z0-9_-]*\\.provider\\.settings\\.(${providerSettings})$`),
];

/** What they are, for people. */
export const SESSION_SETTINGS = `policy.barge_in, policy.hold_on_candidate, conversation.greeting, recording.level, nodes.ID.settings.NAME, nodes.ID.provider.settings.(${providerSettings})`;

/** @param settings by path, without the prefix. null: none. `err` names the path and what to do, never the value. */
export function sessionOverrides(settings: Readonly<Record<string, SettingValue>>): Result<Overrides | null, string> {
  const paths = Object.entries(settings);
  if (paths.length === 0) return ok(null);
  const document: Record<string, unknown> = {
    schema: OVERRIDES_SCHEMA,
    layer: "session",
    name: "session",
    version: "1",
  };
  for (const [path, value] of paths) {
    if (!allowed.some((pattern) => pattern.test(path))) {
      return err(
        `${SET_PREFIX}${path.slice(0, 128)} is no setting of a session: a session may set ${SESSION_SETTINGS}`,
      );
    }
    put(document, path.split("."), value);
  }
  const parsed = parseOverrides(JSON.stringify(document, null, 1), "session");
  if (parsed.ok) return parsed;
  const [first] = parsed.error;
  return err(`${SET_PREFIX}${first?.path}: ${first?.message}: ${first?.remedy}`);
}

function put(document: Record<string, unknown>, [key = "", ...rest]: readonly string[], value: SettingValue): void {
  if (rest.length === 0) {
    document[key] = value;
    return;
  }
  const inner = (Object.hasOwn(document, key) ? document[key] : {}) as Record<string, unknown>;
  document[key] = inner;
  put(inner, rest, value);
}
