import { userInfo } from "node:os";

/** Who runs the command, for lists and the audit. */
export function userName(): string {
  try {
    return userInfo().username.slice(0, 128) || "unknown";
  } catch {
    // A uid without a name, as in containers.
    return "unknown";
  }
}
